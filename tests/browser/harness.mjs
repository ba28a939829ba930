/*
 * harness.mjs - the real server and a headless Chromium for the page's tests.
 *
 * BUILD      folder with the binaries, default build
 * WEIGHTS    the weights to serve, default weights/capsnet-mnist.safetensors; when
 *            there are none, the small golden ones, and `trained` is false
 * CHROMIUM   the browser's program
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync } from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';

export const ROOT = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../..');
export const BUILD = path.resolve(ROOT, process.env.BUILD || 'build');
export const SHIPPED = path.resolve(ROOT, process.env.WEIGHTS || 'weights/capsnet-mnist.safetensors');
const START_MS = 20000;
const QUIET_MS = 250;

export const trained = existsSync(SHIPPED);
export const SHOTS = path.join(BUILD, 'browser');
mkdirSync(SHOTS, { recursive: true });

if (!trained)
    console.log('SKIPPED: no trained weights; what needs a right answer is not checked');

/* Starts the server; resolves once it is ready. */
export async function startServer(port = 0, files = []) {
    const weights = files.length ? files : [trained ? SHIPPED : path.join(ROOT, 'tests/golden/small.safetensors')];
    const environment = Object.fromEntries(
        Object.entries(process.env).filter(([name]) => !name.startsWith('CAPSNETD_')));
    const child = spawn(path.join(BUILD, 'capsnetd'),
        ['--listen', `127.0.0.1:${port}`, ...weights.flatMap((file) => ['--weights', file])],
        { stdio: ['ignore', 'pipe', 'ignore'], env: environment });
    const exited = new Promise((resolve) => child.once('exit', resolve));
    const kill = () => child.kill('SIGKILL');
    process.once('exit', kill);
    const url = await new Promise((resolve, reject) => {
        let line = '';
        child.stdout.on('data', (data) => {
            line += data;
            const found = line.match(/http:\/\/\S+:\d+/);
            if (found)
                resolve(found[0]);
        });
        child.once('error', reject);
        child.once('exit', (status) => reject(new Error(`capsnetd ended with ${status}`)));
        setTimeout(() => reject(new Error('capsnetd did not start in time')), START_MS).unref();
    });
    return {
        url,
        port: Number(new URL(url).port),
        async stop() {
            child.kill('SIGTERM');
            await exited;
            process.off('exit', kill);
        },
    };
}

export function launch() {
    return chromium.launch({
        executablePath: process.env.CHROMIUM || '/usr/bin/chromium',
        args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
            '--disable-background-networking', '--disable-component-update', '--disable-sync'],
    });
}

/* ---- The tests of a file ---------------------------------------------------- */

/* What the tests of a file share: the server and its GET /model, the browser, and the
 * page that most of them take over from each other. */
export const stage = { server: null, model: null, browser: null, desktop: null };

/* weights: files to serve; none: the shipped one */
export function setUp(weights = []) {
    before(async () => {
        [stage.server, stage.browser] = await Promise.all([startServer(0, weights), launch()]);
        stage.model = await (await fetch(`${stage.server.url}/model`)).json();
    });
    after(async () => {
        await stage.browser?.close();
        await stage.server?.stop();
    });
}

/* A test that begins with the sample "3" on the page; it fails when the console
 * says anything.  With options it gets a page of its own. */
export function pageTest(name, fn, options = null) {
    test(name, async () => {
        const page = (!options && stage.desktop) || await openPage(stage.browser, stage.server.url, options ?? {});
        stage.desktop = null; /* none for the next test, should this one fail */
        await page.getByRole('button', { name: 'Sample: 3' }).click();
        await settle(page);
        await fn(page);
        assert.deepEqual(page.complaints, [], 'the console is silent');
        if (options)
            await page.context().close();
        else
            stage.desktop = page;
    });
}

/* ---- What tests ask of a page --------------------------------------------- */

/* Opens the page in a context of its own and waits for its first answer.
 * page.complaints collects what the console and the page's errors say. */
export async function openPage(browser, url, options = {}) {
    const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
    const page = await context.newPage();
    page.setDefaultTimeout(15000);
    page.complaints = [];
    page.on('console', (m) => ['error', 'warning'].includes(m.type()) && page.complaints.push(m.text()));
    page.on('pageerror', (error) => page.complaints.push(String(error.stack)));
    page.flying = 0;
    page.on('request', () => page.flying++);
    page.on('requestfinished', () => page.flying--);
    page.on('requestfailed', () => page.flying--);
    await page.goto(url);
    await page.locator('.bar input:checked').waitFor({ state: 'attached' });
    await settle(page);
    return page;
}

/* Waits until no request has been in flight for a while: longer than the
 * page's own pause before its costly requests. */
export async function settle(page) {
    for (let quiet = Date.now(); Date.now() - quiet < QUIET_MS;) {
        await page.waitForTimeout(20);
        if (page.flying > 0)
            quiet = Date.now();
    }
}

/* The pixels of a canvas, as text to compare. */
export const pixels = (page, id) => page.evaluate((i) => document.getElementById(i).toDataURL(), id);

/* The canvas's bytes, RGBA.  A copy is read: the browser complains of a canvas that is
 * read again and again. */
export async function rgba(page, id) {
    return Buffer.from(await page.evaluate((i) => {
        const canvas = document.getElementById(i);
        const g = new OffscreenCanvas(canvas.width, canvas.height).getContext('2d', { willReadFrequently: true });
        g.drawImage(canvas, 0, 0);
        const bytes = g.getImageData(0, 0, canvas.width, canvas.height).data;
        return Array.from(bytes, (byte) => String.fromCharCode(byte)).join('');
    }, id), 'latin1');
}

/* Does the canvas show more than one colour? */
export async function isDrawn(page, id) {
    const bytes = await rgba(page, id);
    return bytes.some((v, at) => v !== bytes[at % 4]);
}

/* Waits until the canvas no longer shows `before`. */
export const waitChange = (page, id, before) => page.waitForFunction(
    ([i, old]) => document.getElementById(i).toDataURL() !== old, [id, before]);

export const waitDigit = (page, digit) => page.waitForFunction(
    (d) => document.getElementById('digit').textContent === d, digit);

/* Strokes of [x, y] in hundredths of the pad, drawn with the mouse. */
export async function drawWithMouse(page, strokes, id = 'pad') {
    await page.locator(`#${id}`).scrollIntoViewIfNeeded();
    const box = await page.locator(`#${id}`).boundingBox();
    const at = ([x, y]) => [box.x + (x * box.width) / 100, box.y + (y * box.height) / 100];
    for (const stroke of strokes) {
        await page.mouse.move(...at(stroke[0]));
        await page.mouse.down();
        for (const point of stroke.slice(1))
            await page.mouse.move(...at(point), { steps: 4 });
        await page.mouse.up();
    }
}
