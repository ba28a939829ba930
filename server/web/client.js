/*
 * client.js - talking to the server: one request in flight per channel, the
 * newest wins, and trouble is reported and outlived.
 */

const RETRY_MS = 1000;
const TIMEOUT_MS = 15000;

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/* What went wrong, as a sentence.  `passing` trouble is worth another try, after
 * what wait() waits for: a while, though not all pages at the same time. */
export class Trouble extends Error {
    constructor(sentence, passing, wait = () => pause(RETRY_MS * (0.75 + Math.random() / 2))) {
        super(sentence);
        this.passing = passing;
        this.wait = wait;
    }
}

/* The API key, where the server wants one; kept until the tab is closed. */
let key = sessionStorage.getItem('api-key');
let giveKey = () => {};
let keyGiven = null;

export function setKey(value) {
    key = value;
    sessionStorage.setItem('api-key', value);
    giveKey();
}

function untilKeyIsGiven() {
    keyGiven ??= new Promise((resolve) => {
        giveKey = () => {
            keyGiven = null;
            resolve();
        };
    });
    return keyGiven;
}

const BUSY = {
    overloaded: 'The server is busy.',
    loading: 'The server is loading its model.',
    draining: 'The server is shutting down.',
};

/* The error of an answer that is none. */
async function troubleOf(response) {
    let error = {};
    try {
        ({ error } = await response.json());
    } catch {
        /* not from capsnetd: from a proxy, perhaps */
    }
    if (response.status === 401)
        return new Trouble('This server wants an API key.', true, untilKeyIsGiven);
    if (response.status === 503 || response.status === 429)
        return new Trouble(BUSY[error.code] ?? 'The server is busy.', true);
    if (response.status >= 500)
        return new Trouble('The server cannot be reached.', true);
    return new Trouble(error.message ?? `The server answered ${response.status}.`, false);
}

/* Fetches and reads the answer as 'json' or as 'bitmap'.  Throws Trouble. */
export async function call(path, body, as = 'json') {
    const options = { signal: AbortSignal.timeout(TIMEOUT_MS),
        headers: { Accept: as === 'bitmap' ? 'image/png' : 'application/json' } };
    if (body !== undefined) {
        options.method = 'POST';
        options.body = body;
        options.headers['Content-Type'] = body instanceof Blob ? 'image/png' : 'application/json';
    }
    if (key)
        options.headers.Authorization = `Bearer ${key}`;
    let answer;
    try {
        const response = await fetch(path, options);
        if (!response.ok)
            throw await troubleOf(response);
        answer = as === 'json' ? await response.json() : await response.blob();
    } catch (error) {
        throw error instanceof Trouble ? error : new Trouble('The server cannot be reached.', true);
    }
    return as === 'json' ? answer : createImageBitmap(answer);
}

/* Channels in trouble, and who is told of it. */
const troubled = new Map();
let listener = () => {};

/* fn(sentence, needsKey) is called whenever the server's state changes; without
 * a sentence all is well. */
export function onTrouble(fn) {
    listener = fn;
}

function report(channel, trouble) {
    const before = [...troubled.values()].at(-1);
    if (trouble)
        troubled.set(channel, trouble);
    else
        troubled.delete(channel);
    const now = [...troubled.values()].at(-1);
    if (now?.message !== before?.message)
        listener(now?.message, now?.wait === untilKeyIsGiven);
}

/*
 * A channel: returns send(job).  At most one job is at work; of those that come
 * meanwhile only the newest is kept.  A job that meets passing trouble is tried
 * again until it succeeds or a newer one takes its place.
 *
 * work(job)           does it; async
 * done(result, job)   shows it
 * failed(job, sentence)   the server refused the job for good
 */
export function latest(work, done, failed = () => {}) {
    const channel = Symbol();
    let waiting = null;
    let running = false;

    async function attempt(job) {
        try {
            const result = await work(job);
            report(channel, null);
            done(result, job);
        } catch (trouble) {
            if (!(trouble instanceof Trouble))
                throw trouble;
            report(channel, trouble.passing ? trouble : null);
            if (!trouble.passing)
                return failed(job, trouble.message);
            waiting ??= job;
            await trouble.wait();
        }
    }

    async function run() {
        running = true;
        try {
            while (waiting) {
                const job = waiting;
                waiting = null;
                await attempt(job);
            }
        } finally {
            running = false;
        }
    }

    return (job) => {
        waiting = job;
        if (!running)
            run();
    };
}
