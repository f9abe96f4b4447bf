// Whether a page still looks as it did, on machines with other fonts: the places of its parts within some pixels, its colours
// exactly, and a picture that is compared as one sees it from afar.
//
// What was seen last is in snapshots/NAME.json; the pictures are those of docs/. SWITCHBOARD_SNAPSHOTS=update writes the former
// again, SWITCHBOARD_SCREENSHOTS=DIR leaves the latter in DIR. Look at both when the page has changed.

import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

const DIRECTORY = join(import.meta.dirname, 'snapshots');
const PICTURES = join(import.meta.dirname, '../../docs');
const isUpdate = process.env.SWITCHBOARD_SNAPSHOTS === 'update';

/** Pixels by which the same part may lie elsewhere: letters are wider or higher in other fonts. */
const NEAR_PX = 14;
/** A picture from afar: cells of so many pixels, of which so many may differ by more than so much of 255. */
const CELL_PX = 40;
const DIFFERENT = 28;
const MOST_DIFFERENT = 0.06;

/** Parts whose place is that of the layout: all four sides are compared. */
const FIXED = ['#rooms-panel', '#brand', '#rooms', '#browse-button', '#join-name', '#join button', '#user', '#settings-button', 'header',
  '#search-form', '#status-slot', '#stage', '#composer', '#box', '#text', '#emoji', '#send', '#people-panel', '#rooms-button', '#people-button'];
/** Parts that flow with their texts: their sides at left and right are compared. */
const FLOWING = ['#title', '#room-list li', '#direct-list li', '#people li', '#messages .message', '#messages .day'];
const COLOURED = ['body', '#rooms-panel', 'header', '#stage', '#box', '#send', '#rooms [aria-current]', '#messages .message .body', '.badge.loud'];

/** Fails where a page does not look as in the snapshot of this name, or in the picture of docs/ that it was made for. */
export async function looksAsBefore(page, name, picture) {
  const seen = await page.evaluate(look, { fixed: FIXED, flowing: FLOWING, coloured: COLOURED });
  const file = join(DIRECTORY, `${name}.json`);
  if (isUpdate) {
    await mkdir(DIRECTORY, { recursive: true });
    await writeFile(file, `${JSON.stringify(seen, null, 1)}\n`);
  }
  assert.ok(existsSync(file), `no snapshot ${file}`);
  assert.deepEqual(differences(JSON.parse(await readFile(file, 'utf8')), seen), [], `${name} looks otherwise`);
  if (!isUpdate) await isSamePicture(page, join(PICTURES, picture), name);
}

/** Runs in the page, once all colours are what they become. */
async function look({ fixed, flowing, coloured }) {
  await Promise.all(document.getAnimations().map(({ finished }) => finished.catch(() => {})));
  const isSeen = (one) => one.checkVisibility() && one.getBoundingClientRect().width > 1;
  const all = (selector) => [...document.querySelectorAll(selector)].filter(isSeen);
  const box = (one) => {
    const { left, top, right, bottom } = one.getBoundingClientRect();
    return [left, right, top, bottom].map(Math.round);
  };
  const colours = (one) => {
    const { color, backgroundColor } = getComputedStyle(one);
    return [color, backgroundColor];
  };
  const of = (selectors, read) => Object.fromEntries(selectors.map((selector) => [selector, all(selector).map(read)]));
  return {
    fixed: of(fixed, box),
    flowing: of(flowing, (one) => box(one).slice(0, 2)),
    colours: of(coloured, colours),
  };
}

function differences(before, now) {
  const found = [];
  for (const kind of ['fixed', 'flowing']) {
    for (const [selector, boxes] of Object.entries(now[kind])) {
      const old = before[kind][selector];
      const isNear = old?.length === boxes.length
        && boxes.every((box, i) => box.every((side, k) => Math.abs(side - old[i][k]) <= NEAR_PX));
      if (!isNear) found.push(`${selector} was at ${JSON.stringify(old)} and is at ${JSON.stringify(boxes)}`);
    }
  }
  for (const [selector, colours] of Object.entries(now.colours)) {
    const [first, old] = [colours[0], before.colours[selector]?.[0]];
    if (JSON.stringify(first) !== JSON.stringify(old)) found.push(`${selector} was ${old} and is ${first}`);
  }
  return found;
}

async function isSamePicture(page, file, name) {
  const pictures = [await readFile(file), await page.screenshot({ animations: 'disabled' })].map((png) => png.toString('base64'));
  const blank = await page.context().newPage();
  const share = await blank.evaluate(compare, { pictures, cell: CELL_PX, different: DIFFERENT });
  await blank.close();
  assert.ok(share <= MOST_DIFFERENT, `${name}: ${(share * 100).toFixed(1)} % of the picture is not as in ${file}`);
}

/** Runs in a blank page: the share of the cells of two pictures that differ. */
async function compare({ pictures, cell, different }) {
  const [before, now] = await Promise.all(pictures.map(async (base64) => {
    const image = new Image();
    image.src = `data:image/png;base64,${base64}`;
    await image.decode();
    return image;
  }));
  if (before.width !== now.width || before.height !== now.height) return 1;
  const cells = (image) => {
    const canvas = document.createElement('canvas');
    [canvas.width, canvas.height] = [image.width, image.height].map((length) => Math.ceil(length / cell));
    const context = canvas.getContext('2d');
    context.imageSmoothingQuality = 'high';
    context.drawImage(image, 0, 0, canvas.width, canvas.height);
    return context.getImageData(0, 0, canvas.width, canvas.height).data;
  };
  const [one, other] = [cells(before), cells(now)];
  let count = 0;
  for (let i = 0; i < one.length; i += 4) count += [0, 1, 2].some((k) => Math.abs(one[i + k] - other[i + k]) > different) ? 1 : 0;
  return count / (one.length / 4);
}
