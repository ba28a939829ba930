/* page.test.mjs - the page in a real browser, before the real server. */
import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { availableParallelism, loadavg } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { ROOT, SHOTS, drawWithMouse, isDrawn, openPage, pageTest, pixels, setUp, settle, stage, startServer,
    trained, waitChange, waitDigit } from './harness.mjs';

const SEVEN = [[[25, 18], [75, 15], [60, 48], [46, 88]]];
const ONE = [[[54, 12], [48, 88]]];

setUp();

const digitFile = (name) => path.join(ROOT, 'tests/digits', name);

async function assertDigit(page, digit) {
    if (trained)
        await waitDigit(page, digit);
}

/* ---- Files and headers ------------------------------------------------------- */

test('the page weighs less than 130 kB and allows nothing from elsewhere', async () => {
    const { url } = stage.server;
    const index = await fetch(url);
    const policy = index.headers.get('content-security-policy');
    assert.match(policy, /default-src 'self'/);
    assert.doesNotMatch(policy, /unsafe|https?:|\*/);
    assert.equal(index.headers.get('x-content-type-options'), 'nosniff');
    assert.equal(index.headers.get('referrer-policy'), 'no-referrer');
    const html = await index.text();
    const named = [...html.matchAll(/(?:src|href)="web\/([^"]+)"/g)].map((m) => m[1]);
    const files = readdirSync(path.join(ROOT, 'server/web')).filter((name) => /\.(js|css)$/.test(name));
    assert.deepEqual(named.filter((name) => !files.includes(name)), []);
    let weight = html.length;
    for (const file of files) {
        const response = await fetch(`${url}/web/${file}`);
        assert.equal(response.status, 200, file);
        assert.match(response.headers.get('content-type'), file.endsWith('.js') ? /^text\/javascript/ : /^text\/css/);
        weight += (await response.arrayBuffer()).byteLength;
        const etag = response.headers.get('etag');
        const again = await fetch(`${url}/web/${file}`, { headers: { 'If-None-Match': etag } });
        assert.equal(again.status, 304, file);
        const changed = await fetch(`${url}/web/${file}`, { headers: { 'If-None-Match': '"0"' } });
        assert.equal(changed.status, 200, file);
    }
    console.log(`the page weighs ${weight} bytes`);
    assert.ok(weight < 130000);
});

/* The panels come once the first answer is there: a page whose panels are never sent
 * answers all the same, and asked for nothing else before. */
test('the first answer waits for no panel', async () => {
    const page = await stage.browser.newPage();
    const asked = [];
    page.on('request', (request) => asked.push(new URL(request.url()).pathname.slice(1)));
    const panels = /web\/(votes|parts|turn|nudge|number|pair|plot|save)\.js$/;
    await page.route(panels, () => {});
    await Promise.all([page.waitForRequest(panels), page.goto(stage.server.url)]);
    await page.waitForFunction(() => /ms/.test(document.getElementById('timing').textContent));
    assert.ok(asked.findIndex((name) => panels.test(name)) > asked.indexOf('classify'), asked.join(' '));
    assert.equal(asked.filter((name) => name.startsWith('web/') && !panels.test(name)).length, 9);
    await page.close();
});

test('nothing moves while the page fills', async () => {
    for (const viewport of [{ width: 1280, height: 3600 }, { width: 390, height: 844 }]) {
        const page = await stage.browser.newPage({ viewport });
        await page.addInitScript(() => {
            window.moved = 0;
            new PerformanceObserver((list) => list.getEntries().forEach((entry) => (window.moved += entry.value)))
                .observe({ type: 'layout-shift', buffered: true });
        });
        await page.goto(stage.server.url);
        await page.waitForFunction(() => document.querySelectorAll('#pose-plot polyline').length > 0);
        await page.waitForTimeout(200);
        const moved = await page.evaluate(() => window.moved);
        assert.ok(moved < 0.02, `${viewport.width} pixels wide: ${moved}`);
        await page.close();
    }
});

/* ---- The answer ----------------------------------------------------------------- */

test('a sample is answered on arrival', async () => {
    stage.desktop = await openPage(stage.browser, stage.server.url);
    await assertDigit(stage.desktop, '3');
    assert.deepEqual(stage.desktop.complaints, []);
});

pageTest('samples', async (page) => {
    const bars = page.locator('.bar .value');
    assert.equal(await bars.count(), await page.locator('.bar').count());
    for (const id of ['seen', 'redrawn', 'turned', 'sweep', 'nudged', 'nudged-redrawn'])
        assert.ok(await isDrawn(page, id), id);
    await page.getByRole('button', { name: 'Sample: 7' }).click();
    await assertDigit(page, '7');
    const said = `${await page.textContent('#sentence')} ${await page.textContent('#known')}`;
    await page.waitForFunction((text) => document.getElementById('summary').textContent === text, said);
    if (trained)
        assert.match(said, /7.*digit it knows/);
});

pageTest('drawing is answered at once; undo and clear', async (page) => {
    const before = await pixels(page, 'seen');
    const times = [];
    for (const strokes of [SEVEN, ONE, SEVEN, ONE, SEVEN]) {
        await page.click('#clear');
        await page.evaluate(() => (document.getElementById('timing').textContent = ''));
        await drawWithMouse(page, strokes);
        await settle(page);
        times.push(Number((await page.textContent('#timing')).match(/(\d+) ms/)[1]));
    }
    console.log(`last stroke to answer on the screen: ${times.join(', ')} ms`);
    await assertDigit(page, '7');
    assert.ok((await pixels(page, 'seen')) !== before, 'the network saw something else');
    if (loadavg()[0] > availableParallelism())
        console.log('SKIPPED: the machine is busy with other work; no bound is held against these times');
    else if (trained)
        assert.ok(Math.min(...times) < 100, `${times} ms`);

    const drawn = await pixels(page, 'pad');
    await drawWithMouse(page, [[[20, 80], [80, 80]]]);
    assert.notEqual(await pixels(page, 'pad'), drawn);
    await page.keyboard.press('Control+z');
    assert.equal(await pixels(page, 'pad'), drawn);
    await page.click('#clear');
    assert.ok(!(await isDrawn(page, 'pad')));
    await page.waitForFunction(() => document.getElementById('digit').textContent.trim() === '');
    await page.click('#undo');
    assert.equal(await pixels(page, 'pad'), drawn);
    await assertDigit(page, '7');
});

pageTest('a finger draws and does not scroll', async (page) => {
    const session = await page.context().newCDPSession(page);
    await page.locator('#pad').scrollIntoViewIfNeeded();
    const box = await page.locator('#pad').boundingBox();
    const at = ([x, y]) => [{ x: box.x + (x * box.width) / 100, y: box.y + (y * box.height) / 100 }];
    const touch = (type, touchPoints) => session.send('Input.dispatchTouchEvent', { type, touchPoints });
    const scroll = await page.evaluate(() => scrollY);
    await touch('touchStart', at([54, 12]));
    for (let y = 14; y <= 88; y += 4)
        await touch('touchMove', at([54 - y / 14, y]));
    await touch('touchEnd', []);
    await assertDigit(page, '1');
    assert.equal(await page.evaluate(() => scrollY), scroll);
    assert.equal(await page.isDisabled('#undo'), false);
}, { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true });

/* ---- Pictures from elsewhere ------------------------------------------------- */

/* The bytes that the page sends to /classify when it is given a file.  The
 * browser does not tell the test of a Blob's bytes: fetch is asked. */
async function sentFor(page, file) {
    await page.evaluate(() => {
        const { fetch } = window;
        window.sent = new Promise((resolve) => {
            window.fetch = (target, options) => {
                if (target.startsWith('classify')) {
                    window.fetch = fetch;
                    resolve(new Response(options.body).arrayBuffer());
                }
                return fetch(target, options);
            };
        });
    });
    await page.setInputFiles('#file', file);
    return Buffer.from(await page.evaluate(async () => [...new Uint8Array(await window.sent)]));
}

pageTest('a PNG is sent as it is, a photo becomes a PNG', async (page) => {
    const sent = await sentFor(page, digitFile('paper-5.png'));
    assert.ok(sent.equals(readFileSync(digitFile('paper-5.png'))));
    await assertDigit(page, '5');

    const jpeg = await page.evaluate(async () => {
        const blob = await new Promise((done) => {
            const canvas = Object.assign(document.createElement('canvas'), { width: 600, height: 400 });
            const g = canvas.getContext('2d');
            g.fillStyle = '#fffbe8';
            g.fillRect(0, 0, 600, 400);
            g.lineWidth = 20;
            g.strokeStyle = '#203060';
            g.moveTo(300, 80);
            g.lineTo(290, 320);
            g.stroke();
            canvas.toBlob(done, 'image/jpeg', 0.7);
        });
        return [...new Uint8Array(await blob.arrayBuffer())];
    });
    const photo = await sentFor(page, { name: 'one.jpg', mimeType: 'image/jpeg', buffer: Buffer.from(jpeg) });
    assert.equal(photo.subarray(1, 4).toString(), 'PNG');
    await assertDigit(page, '1');
});

/* A drop and a paste, as the page gets them. */
async function hand(page, type, file, name, mime) {
    const bytes = [...readFileSync(file)];
    await page.evaluate(([event, data, fileName, fileType]) => {
        const transfer = new DataTransfer();
        transfer.items.add(new File([new Uint8Array(data)], fileName, { type: fileType }));
        const options = { bubbles: true, cancelable: true };
        document.body.dispatchEvent(event === 'drop'
            ? new DragEvent('drop', { ...options, dataTransfer: transfer })
            : new ClipboardEvent('paste', { ...options, clipboardData: transfer }));
    }, [type, bytes, name, mime]);
}

pageTest('drop, paste, and what is no picture', async (page) => {
    await hand(page, 'drop', digitFile('paper-4.png'), 'four.png', 'image/png');
    await assertDigit(page, '4');
    await hand(page, 'paste', digitFile('paper-2.png'), 'two.png', 'image/png');
    await assertDigit(page, '2');
    await settle(page);
    await hand(page, 'drop', path.join(ROOT, 'LICENSE'), 'notes.txt', 'text/plain');
    await page.getByText('notes.txt').waitFor();
    await page.click('#undo');
    await assertDigit(page, '4');
    await page.waitForFunction(() => document.getElementById('refused').textContent === '');
});

pageTest('what the server refuses is said in its words', async (page) => {
    const sentence = 'the PNG ends in the middle of its IDAT';
    await page.route('**/classify*', (route) => route.fulfill({ status: 400, contentType: 'application/json',
        body: JSON.stringify({ error: { code: 'invalid_png', message: sentence } }) }));
    await page.getByRole('button', { name: 'Sample: 7' }).click();
    await page.getByText(sentence).waitFor();
    await page.unroute('**/classify*');
    await page.getByRole('button', { name: 'Sample: 1' }).click();
    await assertDigit(page, '1');
    page.complaints = page.complaints.filter((text) => !/status of 400/.test(text));
});

/* ---- Pose, sweep, nudge --------------------------------------------------------- */

pageTest('a slider turns the picture, one request at a time; reset turns it back', async (page) => {
    const original = await pixels(page, 'turned');
    const sweepBefore = await pixels(page, 'sweep');
    const slider = page.getByLabel('Pose number 5', { exact: true });
    await page.evaluate(() => {
        const { fetch } = window;
        const count = { sent: 0, flying: 0, most: 0 };
        window.fetch = async (file, options) => {
            if (file !== 'reconstruct')
                return fetch(file, options);
            count.sent++;
            count.most = Math.max(count.most, ++count.flying);
            return fetch(file, options).finally(() => count.flying--);
        };
        window.uncount = () => {
            window.fetch = fetch;
            return count;
        };
    });
    await slider.evaluate((input) => {
        for (let v = -0.7; v <= 0.7; v += 0.01) {
            input.value = v;
            input.dispatchEvent(new Event('input', { bubbles: true }));
        }
    });
    await waitChange(page, 'turned', original);
    await waitChange(page, 'sweep', sweepBefore);
    await settle(page);
    const { most, sent } = await page.evaluate(() => window.uncount());
    assert.equal(most, 1, 'requests in flight');
    assert.ok(sent < 20, `${sent} requests for 140 moves`);
    assert.match(await slider.locator('..').locator('output').textContent(), /0\.[67]/);
    await page.click('#reset');
    await page.waitForFunction((old) => document.getElementById('turned').toDataURL() === old, original);
    assert.equal(await pixels(page, 'redrawn'), original);
});

pageTest('another capsule can be chosen and swept', async (page) => {
    const sweep = await pixels(page, 'sweep');
    const size = await page.evaluate(() => {
        const { width, height } = document.getElementById('sweep');
        const seen = document.getElementById('turned');
        return [width / seen.width, height / seen.height];
    });
    assert.deepEqual(size, [11, await page.locator('.slider').count()]);
    const winner = await page.locator('#bars input:checked').inputValue();
    const other = page.locator('#bars .bar').nth(winner === '2' ? 1 : 2);
    await other.click();
    await waitChange(page, 'sweep', sweep);
    const label = await other.locator('.name').textContent();
    assert.equal(await page.textContent('#turned-caption'), `Capsule ${label}`);
});

pageTest('nudging moves the pose and keeps the length', async (page) => {
    const dims = await page.locator('.slider').count();
    await page.locator('#pose-plot polyline').nth(dims - 1).waitFor({ state: 'attached' });
    assert.equal(await page.locator('#pose-plot polyline').count(), dims);
    assert.equal(await page.locator('#length-plot polyline').count(), await page.locator('#bars .bar').count());
    await page.locator('#kinds').getByText('Rotate').click();
    const turned = await page.locator('#pose-plot .rank0').first().getAttribute('points');
    const nudged = await pixels(page, 'nudged');
    const redrawn = await pixels(page, 'nudged-redrawn');
    await page.locator('#amount').fill('14');
    await waitChange(page, 'nudged', nudged);
    await waitChange(page, 'nudged-redrawn', redrawn);
    assert.match(await page.textContent('#amount-text'), /^\+16°$/);

    /* Numbers, not only lines: over +-16 degrees the capsule stays long while its pose moves. */
    if (trained) {
        const text = await page.locator('#amount').getAttribute('aria-valuetext');
        assert.ok(Number(text.match(/length (\d\.\d+)/)[1]) > 0.6, text);
        const ys = turned.split(' ').map((point) => Number(point.split(',')[1]));
        assert.ok(Math.max(...ys) - Math.min(...ys) > 10, 'the pose moves');
    }
    for (const kind of ['Right', 'Down', 'Scale']) {
        const before = await page.locator('#pose-plot').innerHTML();
        const [sent] = await Promise.all([
            page.waitForRequest('**/pose*'),
            page.locator('#kinds').getByText(kind).click(),
        ]);
        assert.ok(sent.postDataJSON().images.length > 10);
        await page.waitForFunction((old) => document.getElementById('pose-plot').innerHTML !== old, before);
    }
});

/* ---- A server in trouble --------------------------------------------------------- */

const troubled = (page) => page.waitForFunction(() => document.getElementById('status').textContent !== '');
const well = (page) => page.waitForFunction(() => document.getElementById('status').textContent === '');

pageTest('a busy server is named, and asked again', async (page) => {
    await page.route('**/classify*', (route) => route.fulfill({ status: 503, contentType: 'application/json',
        headers: { 'Retry-After': '1' }, body: '{"error": {"code": "overloaded", "message": "the queue is full"}}' }));
    await page.getByRole('button', { name: 'Sample: 7' }).click();
    await troubled(page);
    assert.match(await page.textContent('#status'), /busy/);
    assert.ok(await page.locator('#status').isVisible());
    await page.unroute('**/classify*');
    await well(page);
    await assertDigit(page, '7');
    page.complaints = page.complaints.filter((text) => !/status of 503/.test(text));
});

pageTest('a server that wants a key gets one', async (page) => {
    await page.route('**/classify*', (route) => (route.request().headers().authorization === 'Bearer sesame'
        ? route.continue()
        : route.fulfill({ status: 401, contentType: 'application/json',
            body: '{"error": {"code": "unauthorized", "message": "a key is needed"}}' })));
    await page.getByRole('button', { name: 'Sample: 7' }).click();
    await troubled(page);
    await page.getByLabel('API key').fill('open');
    await Promise.all([
        page.waitForResponse((r) => r.status() === 401),
        page.keyboard.press('Enter'),
    ]);
    await page.getByLabel('API key').fill('sesame');
    await page.keyboard.press('Enter');
    await well(page);
    assert.ok(!(await page.getByLabel('API key').isVisible()));
    await assertDigit(page, '7');
    await page.unroute('**/classify*');
    page.complaints = page.complaints.filter((text) => !/status of 401/.test(text));
});

pageTest('a server that is gone is named, and its return noticed', async (page) => {
    await stage.server.stop();
    await page.getByRole('button', { name: 'Sample: 1' }).click();
    await troubled(page);
    assert.match(await page.textContent('#status'), /cannot be reached/);
    await page.getByRole('button', { name: 'Sample: 7' }).click();
    stage.server = await startServer(stage.server.port);
    await well(page);
    await assertDigit(page, '7');
    page.complaints = page.complaints.filter((text) => !/ERR_CONNECTION|ERR_EMPTY|status of 503/.test(text));
});

/* ---- Keyboard, screen reader, looks --------------------------------------------- */

pageTest('the keyboard reaches every control and sees where it is', async (page) => {
    const wanted = await page.evaluate(() => [...document.querySelectorAll(':is(button:not(:disabled), select,' +
        '[tabindex="0"], input:not([type=radio], :disabled), input[type=radio]:checked)')].filter((node) => node.checkVisibility()).length);
    const reached = new Set();
    for (let i = 0; i < wanted + 3; i++) {
        await page.keyboard.press('Tab');
        const at = await page.evaluate(() => {
            const node = document.activeElement;
            if (node === document.body)
                return null;
            const shown = node.closest('label:has(:focus-visible)') ?? node;
            const style = getComputedStyle(shown);
            const box = shown.getBoundingClientRect();
            return { index: [...document.querySelectorAll('*')].indexOf(node), html: node.outerHTML,
                outlined: style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2,
                seen: box.width > 5 && box.height > 5 };
        });
        if (!at)
            continue;
        assert.ok(at.outlined && at.seen, `focus shows on ${at.html}`);
        reached.add(at.index);
    }
    assert.equal(reached.size, wanted);

    await page.getByRole('button', { name: 'Sample: 7' }).focus();
    await page.keyboard.press('Enter');
    await assertDigit(page, '7');
    await settle(page);
    const turned = await pixels(page, 'turned');
    await page.getByLabel('Pose number 1', { exact: true }).focus();
    for (let i = 0; i < 20; i++)
        await page.keyboard.press('ArrowRight');
    await waitChange(page, 'turned', turned);
    const winner = await page.locator('.bar input:checked').inputValue();
    await page.locator('.bar input:checked').focus();
    await page.keyboard.press('ArrowDown');
    await page.waitForFunction((old) => document.querySelector('.bar input:checked').value !== old, winner);
});

pageTest('every control and picture has a name', async (page) => {
    const nameless = await page.evaluate(() => [...document.querySelectorAll(
        'button, input, select, [tabindex], [role=img]')]
        .filter((node) => !(node.getAttribute('aria-label') || document.getElementById(node.getAttribute('aria-labelledby')) ||
            node.textContent.trim() ||
            [...(node.labels ?? [])].some((label) => label.textContent.trim())))
        .map((node) => node.outerHTML));
    assert.deepEqual(nameless, []);
});

for (const [device, viewport, scale] of [['desktop', { width: 1280, height: 900 }, 1], ['phone', { width: 390, height: 844 }, 2]])
    for (const colorScheme of ['light', 'dark'])
        pageTest(`looks: ${device}, ${colorScheme}`, async (page) => {
            assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), 'no sideways scrolling');
            const [paper, ink] = await page.evaluate(() => ['backgroundColor', 'color'].map((key) =>
                Number(getComputedStyle(document.body)[key].match(/\d+/)[0])));
            assert.equal(paper > ink, colorScheme === 'light');
            await page.screenshot({ path: path.join(SHOTS, `${device}-${colorScheme}.png`), fullPage: true });
        }, { viewport, colorScheme, deviceScaleFactor: scale, hasTouch: device === 'phone' });
