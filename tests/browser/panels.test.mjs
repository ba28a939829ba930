/*
 * panels.test.mjs - the panels beneath the answer, each by mouse and by keyboard, and
 * links and PNGs.
 *
 * What a panel shows is compared with what the server says to the same question, asked
 * by the test.  The pairs model is weights/capsnet-multimnist.safetensors; where there
 * is none, the served one under its name stands in, which reads no pair right.
 */
import assert from 'node:assert/strict';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { BUILD, ROOT, SHIPPED, drawWithMouse, isDrawn, openPage, pageTest, pixels, rgba, setUp, settle, stage,
    trained, waitDigit } from './harness.mjs';

const SMALL = path.join(ROOT, 'tests/golden/small.safetensors');
const PAIRS = path.join(ROOT, 'weights/capsnet-multimnist.safetensors');
const MODEL = trained ? SHIPPED : SMALL;
const readsPairs = existsSync(PAIRS);

/* A copy of a weights file whose model has the pairs model's name. */
function renamed(file) {
    const bytes = readFileSync(file);
    const nbytes = Number(bytes.readBigUInt64LE());
    const header = JSON.parse(bytes.subarray(8, 8 + nbytes).toString());
    header.__metadata__.name = 'capsnet-multimnist';
    const text = JSON.stringify(header);
    const padded = Buffer.from(text.padEnd(Math.ceil(text.length / 8) * 8));
    const size = Buffer.alloc(8);
    size.writeBigUInt64LE(BigInt(padded.length));
    const copy = path.join(BUILD, 'browser/pairs.safetensors');
    writeFileSync(copy, Buffer.concat([size, padded, bytes.subarray(8 + nbytes)]));
    return copy;
}

setUp([MODEL, readsPairs ? PAIRS : renamed(MODEL)]);

const text = (page, id) => page.textContent(`#${id}`);
const sample = (page, name) => page.getByRole('button', { name: `Sample: ${name}`, exact: true });

/* The middle of a part of an element, 0 to 1 from its upper left, on the screen. */
async function spot(page, selector, x, y) {
    await page.locator(selector).scrollIntoViewIfNeeded();
    const box = await page.locator(selector).boundingBox();
    return [box.x + x * box.width, box.y + y * box.height];
}

const signed = (v) => `${v < 0 ? '\u2212' : v > 0 ? '+' : ''}${Math.abs(v).toFixed(2)}`;
const longest = async (page) => Math.max(...(await page.locator('#bars .value').allTextContents()).map(Number));
const near = (a, b, by, what) => assert.ok(Math.abs(a - b) <= by, `${what}: ${a} and ${b}`);

/* ---- Several digits ---------------------------------------------------------------- */

pageTest('digits side by side are read as a number', async (page) => {
    const four = [[[22, 30], [14, 52], [38, 52]], [[34, 38], [32, 72]]];
    const seven = [[[60, 32], [86, 30], [70, 72]]];
    await page.locator('#pen').fill('5');
    await page.click('#clear');
    await drawWithMouse(page, [...four, ...seven]);
    if (trained) {
        await page.waitForFunction(() => document.getElementById('sentence').textContent === 'Side by side it reads 47.');
        assert.equal(await text(page, 'digit'), '47');
        assert.equal(await text(page, 'summary'), `${await text(page, 'sentence')} ${await text(page, 'known')}`);
    }
    await sample(page, '7').click();
    if (trained)
        await waitDigit(page, '7');
    await page.locator('#pen').fill('7.5');
    await settle(page);
    assert.match(await text(page, 'sentence'), trained ? /^It reads 7/ : /./);
});

/* ---- Who votes for it ------------------------------------------------------------ */

/* Draws a sample anew and returns the routing that the page was given for it. */
async function routingOf(page, name) {
    const [response] = await Promise.all([
        page.waitForResponse('**/classify?routing=1'),
        sample(page, name).click(),
    ]);
    await settle(page);
    return (await response.json()).predictions[0];
}

const ranking = (lengths) => lengths.map((length, j) => [length, j]).sort((a, b) => b[0] - a[0]).map(([, j]) => j);

function shareOf(prediction, round, [r, c]) {
    const [a, b] = ranking(prediction.probabilities);
    const { votes, coupling } = prediction.routing.rounds[round];
    const sent = (j) => Math.round(coupling[j][r][c] * 100);
    const [one, other] = [stage.model.labels[a], stage.model.labels[b]];
    return `This place adds ${signed(votes[a][r][c])} to ${one} and ${signed(votes[b][r][c])} to ${other}. ` +
        `Its capsules send ${sent(a)} % of their vote to ${one}, ${sent(b)} % to ${other}.`;
}

pageTest('votes: the maps add up to the lengths, round by round', async (page) => {
    const prediction = await routingOf(page, '7');
    const { rounds } = prediction.routing;
    assert.equal(await page.locator('#rounds svg').count(), rounds.length);
    assert.equal(await page.locator('#rounds svg').first().locator('rect').count(), prediction.probabilities.length);
    const pair = ranking(prediction.probabilities);
    const slider = page.getByLabel('Round of routing');
    const maps = [];
    await slider.focus();
    await page.keyboard.press('Home');
    for (let r = 0; r < rounds.length; r++) {
        assert.equal(await text(page, 'round-text'), `Round ${r + 1} of ${rounds.length}`);
        assert.equal(await page.locator('#rounds .now figcaption').textContent(), `Round ${r + 1}`);
        for (const [k, id] of ['winner', 'runner-up'].entries()) {
            const [, label, sum, length] = (await text(page, `${id}-caption`)).match(/^For (\S+): (\S+) in all, length (\S+)$/);
            assert.equal(label, stage.model.labels[pair[k]]);
            const s = Number(sum.replace('\u2212', '-'));
            near(Number(length), (s * s) / (1 + s * s), 0.011, 'squash of the sum');
            near(Number(length), rounds[r].lengths[pair[k]], 0.0051, 'the length');
        }
        maps.push(await pixels(page, 'winner'));
        await page.keyboard.press('ArrowRight');
    }
    assert.equal(new Set(maps).size, rounds.length, 'each round has its map');
});

pageTest('votes: mouse and arrow keys tell a place\'s share', async (page) => {
    const prediction = await routingOf(page, '7');
    const last = prediction.routing.rounds.length - 1;
    const [down, across] = prediction.routing.grid;
    const { shape } = stage.model;
    const middle = (i) => i * shape.primary_stride + (shape.conv1_kernel + shape.primary_kernel - 1) / 2;
    for (const [r, c] of [[0, 0], [1, across - 1], [down - 1, across >> 1]]) {
        await page.mouse.move(...await spot(page, '#runner-up', middle(c) / shape.width, middle(r) / shape.height));
        assert.equal(await text(page, 'share'), shareOf(prediction, last, [r, c]));
    }
    await page.mouse.move(0, 0);
    assert.match(await text(page, 'share'), /^Point at a place/);

    await page.locator('#winner').focus();
    for (let i = 0; i < down + across; i++)
        await page.keyboard.press(i % 2 ? 'ArrowUp' : 'ArrowLeft');
    assert.equal(await text(page, 'share'), shareOf(prediction, last, [0, 0]));
    const before = await pixels(page, 'winner');
    await page.keyboard.press('ArrowDown');
    await page.keyboard.press('ArrowRight');
    assert.equal(await text(page, 'share'), shareOf(prediction, last, [1, 1]));
    assert.notEqual(await pixels(page, 'winner'), before, 'the place is marked');
    await page.keyboard.press('Tab');
    await page.keyboard.press('Tab');
    assert.match(await text(page, 'share'), /^Point at a place/);
    await page.click('#clear');
    assert.ok(!(await isDrawn(page, 'winner')));
    assert.equal(await page.isDisabled('#round'), true);
    await page.click('#undo');
    await page.waitForFunction(() => /^For/.test(document.getElementById('winner-caption').textContent));
});

pageTest('votes: a finger tells a share and still scrolls', async (page) => {
    const prediction = await routingOf(page, '7');
    await page.touchscreen.tap(...await spot(page, '#winner', 0.5, 0.5));
    await page.waitForFunction(() => document.getElementById('share').textContent.startsWith('This place'));
    const last = prediction.routing.rounds.length - 1;
    const places = prediction.routing.grid.flatMap((n) => Array.from({ length: n }, (_, i) => i));
    const sentences = places.flatMap((r) => places.map((c) => shareOf(prediction, last, [r, c])));
    assert.ok(sentences.includes(await text(page, 'share')));
    assert.equal(await page.locator('#winner').evaluate((node) => getComputedStyle(node).touchAction), 'pan-y');
}, { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true });

/* ---- Take it apart ------------------------------------------------------------------ */

const piece = (page, name) => page.getByRole('button', { name });

/* Where the pieces lie: { name: [x, y] in hundredths of the stage }. */
const lie = (page) => page.evaluate(() => Object.fromEntries([...document.querySelectorAll('.piece')].map((node) =>
    [node.getAttribute('aria-label'), [parseFloat(node.style.left), parseFloat(node.style.top)].map((v) => Math.round(v))])));

const HOME = { 'Upper left quarter': [0, 0], 'Upper right quarter': [50, 0], 'Lower left quarter': [0, 50], 'Lower right quarter': [50, 50] };

/* What the page says of the pieces once it has been answered. */
async function reading(page) {
    await settle(page);
    const [, now, whole] = (await text(page, 'parts-sentence')).match(/length (\S+), and (\S+) as it was drawn/);
    return { now: Number(now), whole: Number(whole), known: await text(page, 'parts-known') };
}

pageTest('parts: exchanged they are no digit, put together they are', async (page) => {
    const { now, whole, known } = await reading(page);
    assert.deepEqual(await lie(page), { 'Upper left quarter': [50, 50], 'Upper right quarter': [0, 50],
        'Lower left quarter': [50, 0], 'Lower right quarter': [0, 0] });
    assert.equal(whole, await longest(page));
    const label = (await text(page, 'digit')).trim();
    assert.match(await text(page, 'counts'), new RegExp(`still read ${label},`));
    if (trained) {
        assert.ok(now < 0.5 && whole > 0.9, `${now}, whole ${whole}`);
        assert.match(known, /not look like/);
    }
    await page.click('#together');
    const again = await reading(page);
    assert.deepEqual(await lie(page), HOME);
    near(again.now, again.whole, 0.011, 'put together');
    assert.equal(again.known, await text(page, 'known'));
    assert.ok(await page.isDisabled('#together'));
    await page.click('#shuffle');
    const shuffled = await lie(page);
    for (const name in HOME)
        assert.notDeepEqual(shuffled[name], HOME[name], `${name} is at home`);
    await settle(page);
    for (const [cut, n] of [['Left, right', 2], ['Top, bottom', 2], ['Quarters', 4]]) {
        await page.locator('#cuts').getByText(cut).click();
        await settle(page);
        assert.equal(await page.locator('.piece').count(), n);
    }
});

pageTest('parts: a mouse exchanges and shifts', async (page) => {
    await page.click('#together');
    const left = await spot(page, '#stage', 0.25, 0.25);
    const right = await spot(page, '#stage', 0.75, 0.25);
    const before = (await reading(page)).now;
    await page.mouse.move(...left);
    await page.mouse.down();
    await page.mouse.move(right[0] - 5, right[1] + 5, { steps: 6 });
    await page.mouse.up();
    assert.deepEqual(await lie(page), { ...HOME, 'Upper left quarter': [50, 0], 'Upper right quarter': [0, 0] });
    const after = (await reading(page)).now;
    assert.notEqual(after, before);

    /* Dropped beside any place, it stays there. */
    const pixel = (await page.locator('#stage').boundingBox()).width / 28;
    const low = await spot(page, '#stage', 0.25, 0.75);
    await page.mouse.move(...low);
    await page.mouse.down();
    await page.mouse.move(low[0] + 5 * pixel, low[1] - 2 * pixel, { steps: 4 });
    await page.mouse.up();
    if (trained)
        assert.deepEqual((await lie(page))['Lower left quarter'], [Math.round(500 / 28), Math.round(1200 / 28)]);

    /* Two clicks exchange, too. */
    await page.click('#together');
    await page.mouse.click(...left);
    assert.equal(await piece(page, 'Upper left').getAttribute('aria-pressed'), 'true');
    await page.mouse.click(...low);
    assert.deepEqual(await lie(page), { ...HOME, 'Upper left quarter': [0, 50], 'Lower left quarter': [0, 0] });
    assert.equal(await page.locator('.piece[aria-pressed=true]').count(), 0);
});

pageTest('parts: the keyboard exchanges and shifts', async (page) => {
    await page.getByRole('button', { name: 'Put together' }).focus();
    await page.keyboard.press('Enter');
    const whole = (await reading(page)).now;
    await piece(page, 'Upper left').focus();
    await page.keyboard.press('Enter');
    await piece(page, 'Lower right').focus();
    await page.keyboard.press(' ');
    assert.deepEqual(await lie(page), { ...HOME, 'Upper left quarter': [50, 50], 'Lower right quarter': [0, 0] });
    assert.notEqual((await reading(page)).now, whole);
    await page.keyboard.press('Enter');
    await page.keyboard.press('Escape');
    assert.equal(await page.locator('.piece[aria-pressed=true]').count(), 0);
    const size = await page.evaluate(() => document.getElementById('seen').width);
    for (const key of ['ArrowRight', 'ArrowRight', 'ArrowDown'])
        await page.keyboard.press(key);
    assert.deepEqual((await lie(page))['Lower right quarter'], [Math.round(200 / size), Math.round(100 / size)]);
    await page.getByLabel('Shuffle').or(page.getByRole('button', { name: 'Shuffle' })).first().focus();
    await page.keyboard.press('Enter');
    assert.notDeepEqual((await lie(page))['Lower right quarter'], [Math.round(200 / size), Math.round(100 / size)]);
    await settle(page);
});

pageTest('parts: a finger drags a piece and does not scroll', async (page) => {
    await page.click('#together');
    const session = await page.context().newCDPSession(page);
    const from = await spot(page, '#stage', 0.25, 0.25);
    const to = await spot(page, '#stage', 0.75, 0.75);
    const touch = (type, points) => session.send('Input.dispatchTouchEvent', { type, touchPoints: points.map(([x, y]) => ({ x, y })) });
    const scroll = await page.evaluate(() => scrollY);
    await touch('touchStart', [from]);
    for (let i = 1; i <= 8; i++)
        await touch('touchMove', [from.map((v, k) => v + ((to[k] - v) * i) / 8)]);
    await touch('touchEnd', []);
    assert.deepEqual(await lie(page), { ...HOME, 'Upper left quarter': [50, 50], 'Lower right quarter': [0, 0] });
    assert.equal(await page.evaluate(() => scrollY), scroll);
    await settle(page);
}, { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true });

/* ---- Two digits --------------------------------------------------------------------------- */

/* The pixels of a canvas that are rather red, and rather green. */
async function redAndGreen(page, id) {
    const bytes = await rgba(page, id);
    const at = Array.from({ length: bytes.length / 4 }, (_, p) => 4 * p);
    const count = (a, b) => at.filter((p) => bytes[p + 3] > 200 && bytes[p + a] > bytes[p + b] + 50).length;
    return [count(0, 1), count(1, 0)];
}

/* Does something to the pair and returns what the server said of it at last. */
async function answerTo(page, act) {
    const said = {};
    const note = (response) => {
        const path = new URL(response.url()).pathname;
        if (/model=capsnet-multimnist/.test(response.url()) && !/debug/.test(response.url()))
            said[path] = response;
    };
    page.on('response', note);
    await act();
    await page.waitForResponse('**/reconstruct?class=detected&model=capsnet-multimnist');
    await settle(page);
    page.off('response', note);
    return { ...(await said['/classify'].json()).predictions[0], images: (await said['/reconstruct'].json()).images };
}

/* The panel says what the answer says, whichever pen it gives a capsule to. */
async function assertPair(page, { detected, probabilities, images }) {
    const values = await page.locator('#pair-bars .value').allTextContents();
    assert.deepEqual(values, probabilities.map((p) => p.toFixed(2)));
    const sentence = await text(page, 'pair-sentence');
    for (const j of detected)
        assert.ok(sentence.includes(stage.model.labels[j]), `${j}: ${sentence}`);
    const captions = [await text(page, 'pair-first-caption'), await text(page, 'pair-second-caption')];
    const wanted = [0, 1].map((i) => (images[i] ? `${images[i].label}, length ${images[i].probability.toFixed(2)}` : 'No second digit'));
    if (images.length > 0)
        assert.deepEqual(captions.sort(), wanted.sort());
    assert.ok(await isDrawn(page, 'pair-seen'));
}

pageTest('pair: chosen by keyboard, read, and drawn apart in two colours', async (page) => {
    const first = page.getByLabel('A digit drawn with the first pen');
    const answer = await answerTo(page, async () => {
        await first.focus();
        await page.keyboard.press('1');
    });
    assert.equal(await first.inputValue(), '1');
    await assertPair(page, answer);
    const inks = {};
    for (const id of ['pair-first', 'pair-second', 'pair-both'])
        inks[id] = await redAndGreen(page, id);
    if (trained && answer.images.length > 0)
        assert.ok(inks['pair-first'][0] > 20 && inks['pair-first'][1] === 0, `${inks['pair-first']}`);
    if (trained && answer.images.length > 1) {
        assert.ok(inks['pair-second'][1] > 20 && inks['pair-second'][0] === 0, `${inks['pair-second']}`);
        assert.ok(inks['pair-both'].every((n) => n > 0), `${inks['pair-both']}`);
    }
    if (readsPairs) {
        assert.deepEqual([...answer.detected].sort(), [1, 7]);
        assert.match(await text(page, 'pair-first-caption'), /^1,/);
        assert.match(await text(page, 'pair-second-caption'), /^7,/);
    }
});

pageTest('pair: two pens draw, undo takes back, clear forgets', async (page) => {
    await page.click('#pair-clear');
    assert.equal(await text(page, 'pair-sentence'), 'Draw two digits.');
    assert.ok(!(await isDrawn(page, 'pair-both')));
    await answerTo(page, () => drawWithMouse(page, [[[45, 12], [42, 85]]], 'pair-pad'));
    const one = await pixels(page, 'pair-pad');
    await page.locator('#pens').getByText('Second pen').click();
    await assertPair(page, await answerTo(page, () =>
        drawWithMouse(page, [[[20, 20], [80, 20], [60, 50], [50, 90]]], 'pair-pad')));
    const inks = await redAndGreen(page, 'pair-pad');
    assert.ok(inks.every((n) => n > 100), `${inks}`);
    await page.click('#pair-undo');
    assert.equal(await pixels(page, 'pair-pad'), one);
    await page.locator('#pens').getByText('First pen').click();
    await settle(page);
});

test('pair: without the pairs model the panel says what serves it', async () => {
    const page = await stage.browser.newPage({ viewport: { width: 1280, height: 900 } });
    await page.route('**/models', (route) => route.fulfill({ contentType: 'application/json', body: '{"models": [{"name": "capsnet-mnist"}]}' }));
    await page.goto(stage.server.url);
    await page.locator('#pair-absent').waitFor();
    assert.match(await text(page, 'pair-absent'), /--weights weights\/capsnet-multimnist\.safetensors/);
    await settle(Object.assign(page, { flying: 0 }));
    assert.ok(!(await page.isVisible('#pair-pad')) && await page.isVisible('#pair-absent'));
    await page.close();
});

/* ---- Equivariance ---------------------------------------------------------------------------- */

pageTest('nudge: how far the pose follows is Pearson\'s correlation', async (page) => {
    const [response] = await Promise.all([
        page.waitForResponse('**/pose*'),
        page.locator('#kinds').getByText('Down').click(),
    ]);
    const { predictions } = await response.json();
    await settle(page);
    const winner = Number(await page.locator('#bars input:checked').inputValue());
    const said = await page.locator('#following li').allTextContents();
    const moved = said.filter((line) => line.startsWith('no. '));
    if (trained)
        assert.ok(moved.length >= 1, `${said}`);
    for (const line of moved) {
        const [, d, by, r] = line.match(/^no\. (\d+) moves by (\S+), correlation (\S+)$/);
        const ys = predictions.map((p) => p.poses[winner][d - 1]);
        const xs = ys.map((_, i) => i);
        const mean = (v) => v.reduce((a, b) => a + b) / v.length;
        const covariance = (a, b) => mean(a.map((v, i) => v * b[i])) - mean(a) * mean(b);
        near(Number(by), Math.max(...ys) - Math.min(...ys), 0.0051, line);
        near(Number(r.replace('\u2212', '-')), covariance(xs, ys) / Math.sqrt(covariance(xs, xs) * covariance(ys, ys)), 0.0051, line);
    }
    const lengths = predictions.map((p) => p.lengths[winner]);
    assert.equal(said.at(-1), `The length stays between ${Math.min(...lengths).toFixed(2)} and ${Math.max(...lengths).toFixed(2)}.`);
});

/* ---- Links and PNGs ---------------------------------------------------------------------------- */

async function linkOf(page) {
    await page.click('#link');
    await page.waitForFunction(() => document.getElementById('linked').textContent !== '');
    return page.evaluate(() => location.href);
}

pageTest('a link brings back what is drawn, and is dropped when that changes', async (page) => {
    await page.click('#clear');
    assert.ok(await page.isDisabled('#link'));
    await drawWithMouse(page, [[[25, 18], [75, 15], [60, 48], [46, 88]], [[40, 50], [70, 50]]]);
    await page.getByLabel('A digit drawn with the second pen').selectOption('4');
    await settle(page);
    const url = await linkOf(page);
    assert.match(url, /#draw=[\w-]+&pair=[\w-]+$/);
    assert.match(await text(page, 'linked'), /copied|address bar/);

    const other = await openPage(stage.browser, url);
    assert.equal(await text(other, 'digit'), await text(page, 'digit'));
    near(await longest(other), await longest(page), 0.03, 'length');
    assert.equal(await linkOf(other), url, 'the same link again');
    const pens = await other.evaluate(() => document.getElementById('pair-sentence').textContent);
    assert.equal(pens, await text(page, 'pair-sentence'));
    await sample(other, '1').click();
    await settle(other);
    assert.equal(new URL(other.url()).hash, '');

    /* Another link, followed on the page that is open. */
    await other.evaluate((hash) => (location.hash = hash), new URL(url).hash);
    await settle(other);
    assert.equal(await text(other, 'digit'), await text(page, 'digit'));
    assert.deepEqual(other.complaints, []);
    await other.context().close();
    await sample(page, '1').click();
    await settle(page);
});

test('a link that holds nothing says so, and the page works', async () => {
    for (const hash of ['#draw=', '#draw=AQ', '#draw=AQBLAAIZ', '#draw=%25%25', '#draw=AglLAAEZGQ', `#draw=${'A'.repeat(5000)}`]) {
        const page = await stage.browser.newPage({ viewport: { width: 1280, height: 900 } });
        const errors = [];
        page.on('pageerror', (error) => errors.push(String(error)));
        await page.goto(`${stage.server.url}/${hash}`);
        await page.getByText('This link holds no drawing').waitFor();
        await sample(page, '7').click();
        await page.waitForFunction(() => document.getElementById('refused').textContent === '');
        if (trained)
            await waitDigit(page, '7');
        assert.deepEqual(errors, [], hash);
        await page.close();
    }
});

/* The size and the number of colours of a PNG, as the browser reads it. */
const look = (page, png) => page.evaluate(async (base64) => {
    const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
    const bitmap = await createImageBitmap(new Blob([bytes], { type: 'image/png' }));
    const canvas = Object.assign(document.createElement('canvas'), { width: bitmap.width, height: bitmap.height });
    const g = canvas.getContext('2d', { willReadFrequently: true });
    g.drawImage(bitmap, 0, 0);
    const { data } = g.getImageData(0, 0, bitmap.width, bitmap.height);
    const colours = new Set();
    for (let p = 0; p < data.length; p += 4 * 7) /* some of them will do */
        colours.add((data[p] << 16) | (data[p + 1] << 8) | data[p + 2]);
    return { width: bitmap.width, height: bitmap.height, colours: colours.size };
}, png.toString('base64'));

pageTest('every panel can be saved as a PNG', async (page) => {
    const saves = page.locator('.save');
    const names = [];
    for (let i = 0; i < await saves.count(); i++) {
        const [download] = await Promise.all([page.waitForEvent('download'), saves.nth(i).click()]);
        names.push(download.suggestedFilename());
        const file = path.join(BUILD, 'browser', download.suggestedFilename());
        await download.saveAs(file);
        const { width, height, colours } = await look(page, readFileSync(file));
        const box = await saves.nth(i).evaluate((node) => {
            const panel = node.closest('section').getBoundingClientRect();
            return [panel.width, panel.height];
        });
        near(width, 2 * (box[0] + 48), 2, names[i]);
        near(height, 2 * (box[1] + 48), 2, names[i]);
        assert.ok(colours > 50, `${names[i]} has ${colours} colours`);
    }
    assert.deepEqual(names, ['see', 'votes', 'parts', 'turn', 'nudge', 'pair'].map((id) => `capsules-${id}.png`));
});

/* ---- Looks ---------------------------------------------------------------------------------------- */

for (const width of [360, 800])
    for (const colorScheme of ['light', 'dark'])
        pageTest(`looks: ${width} pixels, ${colorScheme}`, async (page) => {
            assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), 'no sideways scrolling');
            await page.screenshot({ path: path.join(BUILD, `browser/panels-${width}-${colorScheme}.png`), fullPage: true });
        }, { viewport: { width, height: 800 }, colorScheme, deviceScaleFactor: 2, hasTouch: width === 360 });

/* WCAG AA: 4.5 to 1 for text on what lies behind it. */
for (const colorScheme of ['light', 'dark'])
    pageTest(`contrast, ${colorScheme}`, async (page) => {
        await page.locator('#winner').focus();
        const weak = await page.evaluate(() => {
            const parse = (colour) => colour.match(/[\d.]+/g).map(Number);
            const luminance = (colour) => colour.slice(0, 3).map((v) => v / 255)
                .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
                .reduce((sum, v, k) => sum + v * [0.2126, 0.7152, 0.0722][k], 0);
            const behind = (node) => {
                for (let at = node; at; at = at.parentElement) {
                    const colour = parse(getComputedStyle(at).backgroundColor);
                    if (colour[3] !== 0)
                        return colour;
                }
                return [255, 255, 255];
            };
            const found = [];
            const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
            while (walk.nextNode()) {
                const node = walk.currentNode.parentElement;
                if (!walk.currentNode.data.trim() || !node.checkVisibility() || node.closest('.unseen, noscript, :disabled, option'))
                    continue;
                const isSvg = node.namespaceURI.endsWith('svg');
                const [a, b] = [luminance(parse(getComputedStyle(node)[isSvg ? 'fill' : 'color'])), luminance(behind(node))];
                const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
                if (ratio < 4.5)
                    found.push(`${walk.currentNode.data.trim().slice(0, 40)}: ${ratio.toFixed(2)}`);
            }
            return found;
        });
        assert.deepEqual([...new Set(weak)], []);
    }, { colorScheme });
