#!/usr/bin/env python3
"""Autobahn|Testsuite's fuzzing client under Python 3: port, run, judge.  (helper of run.sh)

  autobahn_py3.py port WHEEL SDIST SITE      fill SITE with the two ported packages
  autobahn_py3.py run SITE OUT PORT CASES    run the fuzzing client against ws://127.0.0.1:PORT/, reports into OUT
  autobahn_py3.py judge SITE OUT CASES [strict]
                                             print counts; exit 1 when a case is FAILED, UNIMPLEMENTED or has no verdict,
                                             with `strict` also when one is NON-STRICT

WHEEL is autobahntestsuite-25.10.1-py2-none-any.whl and SDIST autobahn-0.10.9.tar.gz, both as the registry has them.
CASES is a comma list of the suite's patterns, such as 1.*,2.*,12.1.3

How the port works: the case classes stay in the world where a payload is a `str` of code points 0..255 (what Python
2's `str` was); the protocol library works on `bytes`.  The border is crossed in fuzzing.py only: payloads sent are
latin-1 encoded, payloads received are latin-1 decoded.  Source files are read as latin-1 for the same reason (a
literal then has one code point per octet of the file).  No case's logic is changed, and every replacement must be
found exactly as often as expected, or the port stops.
"""
import collections
import json
import os
import re
import shutil
import sys
import tarfile
import zipfile

B2A = '''class binascii(object):
   b2a_hex = hexlify = staticmethod(lambda x: __import__("binascii").b2a_hex(
      x.encode("latin-1") if isinstance(x, str) else x).decode("ascii"))
'''

BORDER = '''def _b(x):
   return x.encode('latin-1') if isinstance(x, str) else x


def _s(x):
   return x.decode('latin-1') if isinstance(x, bytes) else x


def binLogData(data, maxlen = 64):'''

CLIENT = '''class FuzzingClientProtocol(FuzzingProtocol, WebSocketClientProtocol):

   def sendFrame(self, opcode, payload = b'', *a, **k):
      return WebSocketClientProtocol.sendFrame(self, opcode, _b(payload), *a, **k)

   def sendMessage(self, payload, *a, **k):
      return WebSocketClientProtocol.sendMessage(self, _b(payload), *a, **k)

   def sendMessageFrameData(self, payload, *a, **k):
      return WebSocketClientProtocol.sendMessageFrameData(self, _b(payload), *a, **k)

   def sendCloseFrame(self, code = None, reasonUtf8 = None, *a, **k):
      return WebSocketClientProtocol.sendCloseFrame(self, code, _b(reasonUtf8), *a, **k)

'''


def sub(text, old, new, times):
    if text.count(old) != times:
        raise SystemExit('port: expected %r %d time(s), found %d' % (old, times, text.count(old)))
    return text.replace(old, new)


def common(s):
    s = re.sub(r'^from (case[0-9_a-zA-Z]*) import', r'from .\1 import', s, flags=re.M)
    s = s.replace('(object, Case, )', '(Case, )')
    s = re.sub(r'\bxrange\b', 'range', s)
    s = re.sub(r'\bunichr\b', 'chr', s)
    s = re.sub(r'(\w[\w.\[\]]*)\.has_key\((\w+|"[^"]*")\)', r'(\2 in \1)', s)
    s = re.sub(r'^(\s*)print (?!\()(.*)$', r'\1print(\2)', s, flags=re.M)
    return s


def edit(path, change, enc='utf-8'):
    with open(path, encoding=enc) as f:
        s = f.read()
    with open(path, 'w', encoding='utf-8') as f:
        f.write(change(s))


def port_case(name, s):
    s = common(s)
    s = re.sub(r'^from \.case9_9_1 import \*\n', '', s, flags=re.M)
    s = re.sub(r'^import binascii[ \t]*$', lambda m: B2A, s, count=1, flags=re.M)
    if name == 'case.py':
        s = sub(s, 'import pickle\n', '', 1)
        s = sub(s, 'return pickle.dumps(obj1) == pickle.dumps(obj2)', 'return obj1 == obj2', 1)
    elif name == 'case6_x_x.py':
        s = s[:s.index('import binascii\nimport array')]          # self-tests of the file, Python 2 only
        s = sub(s, 'v.validate(vss[:i])', 'v.validate(vss[:i].encode("latin-1"))', 1)
    elif name == 'case7_5_1.py':
        s = sub(s, 'binascii.b2a_hex(self.p.localCloseReason)', 'repr(self.p.localCloseReason)', 1)
    elif name == 'case10_1_1.py':
        s = sub(s, 'len(self.payload) / self', 'len(self.payload) // self', 1)
    elif name == 'case12_x_x.py':
        s = sub(s, 'import copy, os, pkg_resources, hashlib, binascii', 'import copy, os, hashlib\n' + B2A +
                '_TD = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "testdata")', 1)
        s, n = re.subn(r'pkg_resources\.resource_filename\("autobahntestsuite", "testdata/%s" % ([^\n]*)\)\n',
                       r'os.path.join(_TD, \1)\n', s)
        if n != 3:
            raise SystemExit('port: case12_x_x.py has %d data files' % n)
        s = sub(s, "msg = ''", "msg = payload[:0]", 1)
        s = sub(s, "def onMessage(self, msg, binary):\n", "def onMessage(self, msg, binary):\n   msg = msg.encode('latin-1')\n", 1)
    return s


def port_fuzzing(s):
    s = common(s)
    s, n = re.subn(r'^from report import.*?JS_MASTER_REPORT\n',
                   "CSS_COMMON = CSS_DETAIL_REPORT = CSS_MASTER_REPORT = JS_MASTER_REPORT = ''\n", s, count=1, flags=re.M | re.S)
    assert n == 1
    s = sub(s, 'import os, json, binascii, time, textwrap, pkg_resources', 'import os, json, binascii, time, textwrap', 1)
    s = sub(s, 'from twisted.internet import reactor, ssl\n', 'from twisted.internet import reactor\n', 1)
    s = re.sub(r'^from twisted\.web\..*\n', '', s, flags=re.M)
    s, n = re.subn(r'^         if hostname:\n            self\.contextFactory = .*\n         else:\n'
                   r'            self\.contextFactory = .*\n', '         self.contextFactory = None\n', s, flags=re.M)
    assert n == 1
    s = sub(s, 'def binLogData(data, maxlen = 64):', BORDER, 1)
    s = sub(s, 'binascii.b2a_hex(data[:maxlen]) + ellipses', 'binascii.b2a_hex(_b(data[:maxlen])).decode() + ellipses', 1)
    s = sub(s, 'dd = binascii.b2a_hex(data)\n', 'dd = binascii.b2a_hex(_b(data)).decode()\n', 1)
    s = sub(s, "return dd.decode('utf8', ", "return _b(dd).decode('utf8', ", 1)
    s = sub(s, 'dd = data[:maxlen] + ellipses\n', 'dd = _b(data[:maxlen]) + ellipses.encode()\n', 1)
    s = sub(s, "p = ''.join(payload)", "p = b''.join(payload)", 1)
    s = sub(s, 'binascii.b2a_hex(frameHeader.mask) if', 'binascii.b2a_hex(frameHeader.mask).decode() if', 2)
    s = sub(s, 'self.runCase.onPong(payload)', 'self.runCase.onPong(_s(payload))', 1)
    s = sub(s, 'self.runCase.onMessage(msg, binary)', 'self.runCase.onMessage(_s(msg), binary)', 1)
    s = sub(s, CLIENT.split('\n')[0] + '\n', CLIENT, 1)
    s = sub(s, 'produceHtml = True, produceJson = True', 'produceHtml = False, produceJson = True', 1)
    s = sub(s, "separators = (',', ': '))", "separators = (',', ': '), default = repr)", 2)
    return s


def port(wheel, sdist, site):
    tmp = site + '.new'
    shutil.rmtree(tmp, ignore_errors=True)
    os.makedirs(tmp)
    with zipfile.ZipFile(wheel) as z:
        z.extractall(tmp)
    with tarfile.open(sdist) as t:
        top = t.getnames()[0].split('/')[0] + '/'
        for m in t.getmembers():
            if m.isfile() and m.name.startswith(top + 'autobahn/') and '..' not in m.name:
                dst = os.path.join(tmp, m.name[len(top):])
                os.makedirs(os.path.dirname(dst), exist_ok=True)
                with open(dst, 'wb') as f:
                    f.write(t.extractfile(m).read())
    pkg = os.path.join(tmp, 'autobahntestsuite')
    for n in os.listdir(pkg):
        if n not in ('_version.py', 'caseset.py', 'fuzzing.py', 'case', 'testdata'):
            p = os.path.join(pkg, n)
            shutil.rmtree(p) if os.path.isdir(p) else os.remove(p)
    with open(os.path.join(pkg, '__init__.py'), 'w') as f:
        f.write('from ._version import __version__\nversion = __version__\n')
    cases = os.path.join(pkg, 'case')
    os.remove(os.path.join(cases, 'case9_9_1.py'))       # not among the suite's cases; Python 2 only
    for n in sorted(os.listdir(cases)):
        if n.endswith('.py'):
            edit(os.path.join(cases, n), lambda s: port_case(n, s), 'latin-1')
    edit(os.path.join(pkg, 'caseset.py'), lambda s: common(s).replace("'\\.'", "r'\\.'"))
    edit(os.path.join(pkg, 'fuzzing.py'), port_fuzzing)
    edit(os.path.join(tmp, 'autobahn', 'websocket', 'protocol.py'),
         lambda s: sub(s, 'range(payload_len / len(payload))', 'range(payload_len // len(payload))', 1))
    shutil.rmtree(site, ignore_errors=True)
    os.rename(tmp, site)


def spec(out, port_no, cases):
    return {'outdir': out, 'servers': [{'url': 'ws://127.0.0.1:%s%s' % (port_no, os.environ.get('AUTOBAHN_PATH', '/')), 'agent': 'server'}],
            'cases': cases.split(','), 'exclude-cases': [c for c in os.environ.get('AUTOBAHN_EXCLUDE', '').split(',') if c],
            'exclude-agent-cases': {}}


def load(site):
    sys.dont_write_bytecode = True
    sys.path.insert(0, site)
    import autobahntestsuite.fuzzing as fuzzing
    return fuzzing


def run(site, out, port_no, cases):
    fuzzing = load(site)
    from twisted.internet import reactor
    fuzzing.startClient(spec(out, port_no, cases))
    reactor.run()


def judge(site, out, cases, mode='lenient'):
    fuzzing = load(site)
    cs = fuzzing.CaseSet(fuzzing.CaseSetname, fuzzing.CaseBasename, fuzzing.Cases, fuzzing.CaseCategories, fuzzing.CaseSubCategories)
    want = cs.parseSpecCases(spec(out, 0, cases))
    try:
        with open(os.path.join(out, 'index.json')) as f:
            got = json.load(f).get('server', {})
    except OSError as e:
        print('judge: no index.json (%s)' % e)
        return 2
    count = collections.Counter(v['behavior'] for v in got.values())
    close = collections.Counter(v['behaviorClose'] for v in got.values())
    missing = [c for c in want if c not in got]
    bad = [(c, v['behavior'], v['behaviorClose']) for c, v in got.items()
           if v['behavior'] in ('FAILED', 'UNIMPLEMENTED') or v['behaviorClose'] == 'FAILED']
    bad.sort(key=lambda x: [int(n) for n in x[0].split('.')])
    for c, b, k in bad[:60]:
        detail = {}
        try:
            with open(os.path.join(out, got[c]['reportfile'])) as f:
                detail = json.load(f)
        except OSError:
            pass
        print('  %-8s %-13s close %-8s %s / %s' % (c, b, k, detail.get('result'), detail.get('resultClose')))
    if missing:
        print('  no verdict for %d case(s): %s' % (len(missing), ' '.join(missing[:40])))
    print('cases %d  OK %d  NON-STRICT %d  INFORMATIONAL %d  FAILED %d  UNIMPLEMENTED %d  no verdict %d | close: %s' % (
        len(want), count['OK'], count['NON-STRICT'], count['INFORMATIONAL'], count['FAILED'], count['UNIMPLEMENTED'],
        len(missing), ' '.join('%s %d' % x for x in sorted(close.items()))))
    non_strict = sorted((c for c, v in got.items() if v['behavior'] == 'NON-STRICT'), key=lambda c: [int(n) for n in c.split('.')])
    if non_strict:
        print('non-strict: ' + ' '.join(non_strict))
    return 1 if bad or missing or (mode == 'strict' and non_strict) else 0


if __name__ == '__main__':
    verb, args = sys.argv[1], sys.argv[2:]
    sys.exit({'port': port, 'run': run, 'judge': judge}[verb](*args))
