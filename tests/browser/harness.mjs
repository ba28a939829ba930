/*
 * harness.mjs - the real server and a headless Chromium for the page's tests.
 *
 * BUILD      folder with the binaries, default build
 * WEIGHTS    the weights to serve, default weights/capsnet-mnist.safetensors; when
 *            there are none, the small golden ones, and `trained` is false
 * CHROMIUM   the browser's program
 */
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';

export const ROOT = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../..');
const BUILD = path.resolve(ROOT, process.env.BUILD || 'build');
const SHIPPED = path.resolve(ROOT, process.env.WEIGHTS || 'weights/capsnet-mnist.safetensors');
const START_MS = 20000;
const QUIET_MS = 250;

export const trained = existsSync(SHIPPED);
export const SHOTS = path.join(BUILD, 'browser');
mkdirSync(SHOTS, { recursive: true });

if (!trained)
    console.log('SKIPPED: no trained weights; what needs a right answer is not checked');

/* Starts the server; resolves once it is ready. */
export async function startServer(port = 0) {
    const weights = trained ? SHIPPED : path.join(ROOT, 'tests/golden/small.safetensors');
    const environment = Object.fromEntries(
        Object.entries(process.env).filter(([name]) => !name.startsWith('CAPSNETD_')));
    const child = spawn(path.join(BUILD, 'capsnetd'),
        ['--listen', `127.0.0.1:${port}`, '--weights', weights],
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

/* Does the canvas show more than one colour? */
export const isDrawn = (page, id) => page.evaluate((i) => {
    const canvas = document.getElementById(i);
    const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
    return data.some((v, at) => v !== data[at % 4]);
}, id);

/* Waits until the canvas no longer shows `before`. */
export const waitChange = (page, id, before) => page.waitForFunction(
    ([i, old]) => document.getElementById(i).toDataURL() !== old, [id, before]);

export const waitDigit = (page, digit) => page.waitForFunction(
    (d) => document.getElementById('digit').textContent === d, digit);

/* Strokes of [x, y] in hundredths of the pad, drawn with the mouse. */
export async function drawWithMouse(page, strokes) {
    await page.locator('#pad').scrollIntoViewIfNeeded();
    const box = await page.locator('#pad').boundingBox();
    const at = ([x, y]) => [box.x + (x * box.width) / 100, box.y + (y * box.height) / 100];
    for (const stroke of strokes) {
        await page.mouse.move(...at(stroke[0]));
        await page.mouse.down();
        for (const point of stroke.slice(1))
            await page.mouse.move(...at(point), { steps: 4 });
        await page.mouse.up();
    }
}
