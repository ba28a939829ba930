/*
 * state.js - what the panels share: the model, the last answer and what was asked,
 * and who is told when they change.
 */
import { call, latest } from './client.js';
import { $, newCanvas, paint } from './dom.js';

export const DETECTED = 0.5;  /* a longer capsule is there */
export const SETTLE_MS = 150; /* costly requests wait until nothing has changed for so long */

export const state = {
    model: null,  /* of GET /model */
    labels: [],
    answer: null, /* the prediction of /classify; null: nothing is drawn */
    body: null,   /* what was sent for it */
    chosen: null, /* the capsule that is turned; null: the winner */
};

export const capsule = () => state.chosen ?? state.answer.class;

const listeners = { answer: [], capsule: [] };

/* fn() is called at once and whenever there is another answer, or none ('answer'),
 * or another capsule was chosen, which every answer does too ('capsule'). */
export function on(what, fn) {
    listeners[what].push(fn);
    fn();
}

function tell(what) {
    for (const fn of listeners[what])
        fn();
}

export function setAnswer(answer, body) {
    Object.assign(state, { answer, body, chosen: null });
    tell('answer');
    tell('capsule');
}

export function choose(i) {
    state.chosen = i;
    tell('capsule');
}

/* Does the picture look like what the network was trained on?  [sentence, class of
 * the style sheet]; it is judged by how well the winner alone can draw it. */
export function known(prediction) {
    if (!prediction || prediction.in_distribution === null)
        return ['', ''];
    if (prediction.in_distribution)
        return ['Looks like a digit it knows.', 'good'];
    return [prediction.probabilities.filter((p) => p > DETECTED).length > 1
        ? 'None of them alone can draw it all: two digits, or none.'
        : 'Does not look like any digit it knows.', 'bad'];
}

/* A channel that has poses drawn on a canvas; its jobs are bodies. */
export function drawer(path, id) {
    return latest(
        (body) => call(path, body, 'bitmap'),
        (bitmap) => state.answer && paint($(id), bitmap),
    );
}

/* The picture that the network saw, after a drawing upon g has moved or cut it:
 * a canvas of its size, to be sent with normalize=none. */
export function redrawn(draw) {
    const source = $('seen');
    const { width, height } = source;
    const canvas = newCanvas(width, height);
    const g = canvas.getContext('2d', { willReadFrequently: true });
    g.fillRect(0, 0, width, height);
    draw(g, source);
    return canvas;
}
