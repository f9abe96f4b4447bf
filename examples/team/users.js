// The users of the product, as a database would hold them: who they are, what team they are in, whether they may be here.

import { randomBytes, scryptSync, timingSafeEqual } from 'node:crypto';
import { readFileSync, renameSync, writeFileSync } from 'node:fs';

/** Of the first start. The README names their passwords: this is a sample. */
const SAMPLE = [
  { id: 'u1', login: 'ada', name: 'Ada', team: 'red', role: 'moderator' },
  { id: 'u2', login: 'bob', name: 'Bob', team: 'red', role: 'member' },
  { id: 'u3', login: 'eve', name: 'Eve', team: 'blue', role: 'member' },
];

export class Users {
  #path;
  #users;

  constructor(path) {
    this.#path = path;
    try {
      this.#users = JSON.parse(readFileSync(path, 'utf8'));
    } catch (error) {
      if (error.code !== 'ENOENT') throw error;
      this.#users = SAMPLE.map((user) => ({ ...user, suspended: false, ...hashOf(`${user.login}-password`) }));
      this.#write();
    }
  }

  find(id) {
    return this.#users.find((user) => user.id === id);
  }

  named(name) {
    return this.#users.find((user) => user.name === name);
  }

  signIn(login, password) {
    const user = this.#users.find((one) => one.login === login);
    // Somebody who is not known takes as long.
    const { salt, hash } = user ?? { salt: '00', hash: '00'.repeat(32) };
    const isRight = timingSafeEqual(scryptSync(String(password), salt, 32), Buffer.from(hash, 'hex'));
    return user && isRight && !user.suspended ? user : undefined;
  }

  suspend(user, suspended) {
    user.suspended = suspended;
    this.#write();
  }

  #write() {
    writeFileSync(`${this.#path}.new`, JSON.stringify(this.#users, null, 2), { mode: 0o600 });
    renameSync(`${this.#path}.new`, this.#path);
  }
}

function hashOf(password) {
  const salt = randomBytes(16).toString('hex');
  return { salt, hash: scryptSync(password, salt, 32).toString('hex') };
}
