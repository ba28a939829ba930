/*
 * nudge.js - the panel "Nudge the digit": the picture moved in steps, the capsules'
 * lengths and the winner's pose along the way, and how far the pose follows.
 */
import { call, latest } from './client.js';
import { $, make, makeKinds, paint, settled, signed, wipe } from './dom.js';
import { imagesJson } from './pad.js';
import { plot } from './plot.js';
import { SETTLE_MS, capsule, drawer, on, redrawn, state } from './state.js';

/* Each kind moves the picture about its middle; v runs from -max to max. */
const KINDS = [
    { name: 'Right', max: 5, steps: 10, text: (v) => `${signed(v, 0)} px`, move: (g, v) => g.translate(v, 0) },
    { name: 'Down', max: 5, steps: 10, text: (v) => `${signed(v, 0)} px`, move: (g, v) => g.translate(0, v) },
    { name: 'Rotate', max: 40, steps: 20, text: (v) => `${signed(v, 0)}\u00b0`, move: (g, v) => g.rotate((v * Math.PI) / 180) },
    { name: 'Scale', max: 30, steps: 20, text: (v) => `${signed(v, 0)} %`, move: (g, v) => g.scale(1 + v / 100, 1 + v / 100) },
];
const RANKED = 4;     /* series in colour */
const MOVES = 0.1;    /* a pose number that moves less is drawn faintly */

let kind = KINDS[2];
let nudges = null; /* { kind, capsule, xs, pictures, predictions } */

function nudgedPicture(v, move) {
    return redrawn((g, source) => {
        g.imageSmoothingQuality = 'high';
        g.translate(source.width / 2, source.height / 2);
        move(g, v);
        g.drawImage(source, -source.width / 2, -source.height / 2);
    });
}

function resetAmount() {
    Object.assign($('amount'), { min: 0, max: kind.steps, value: kind.steps / 2 });
}

const nudge = latest(
    async (job) => {
        const xs = Array.from({ length: job.kind.steps + 1 }, (_, i) => job.kind.max * ((2 * i) / job.kind.steps - 1));
        const pictures = xs.map((v) => nudgedPicture(v, job.kind.move));
        const { predictions } = await call('pose?normalize=none', imagesJson(pictures));
        return { ...job, xs, pictures, predictions };
    },
    (result) => {
        if (!state.answer || result.kind !== kind)
            return;
        nudges = result;
        show();
    },
);

const startNudge = settled(SETTLE_MS, () => state.answer && nudge({ kind, capsule: capsule() }));

const redrawNudged = drawer('reconstruct', 'nudged-redrawn');

const span = (values) => Math.max(...values) - Math.min(...values);

/* The series of a plot: of rows [x][i] those with a label, the ones that move
 * most (or that are longest) ranked. */
function ranked(rows, names, weight) {
    const series = names.map((label, i) => ({ label, values: rows.map((row) => row[i]) }));
    [...series].sort((a, b) => weight(b.values) - weight(a.values)).slice(0, RANKED)
        .filter((s) => weight(s.values) > MOVES).forEach((s, rank) => (s.rank = rank));
    return series;
}

/* Pearson's correlation of two rows of numbers. */
function correlation(xs, ys) {
    const mean = (v) => v.reduce((a, b) => a + b) / v.length;
    const [mx, my] = [mean(xs), mean(ys)];
    const dot = (f) => xs.reduce((sum, x, i) => sum + f(x - mx, ys[i] - my), 0);
    return dot((x, y) => x * y) / Math.sqrt(dot((x) => x * x) * dot((x, y) => y * y));
}

/* How far the pose follows, as a number for each series in colour. */
function showFollowing(series, lengths, xs) {
    const table = $('following');
    table.replaceChildren();
    for (const s of series.filter((one) => one.rank !== undefined).sort((a, b) => a.rank - b.rank)) {
        const row = make(table, 'li', { className: `rank${s.rank}` });
        make(row, 'b', { textContent: s.label });
        make(row, 'span', { textContent: ` moves by ${span(s.values).toFixed(2)}, correlation ${signed(correlation(xs, s.values), 2)}` });
    }
    make(table, 'li', { textContent: `The length stays between ${Math.min(...lengths).toFixed(2)} and ${Math.max(...lengths).toFixed(2)}.` });
}

function show() {
    if (!nudges)
        return;
    const i = Number($('amount').value);
    const { xs, predictions, pictures, capsule: j } = nudges;
    const { labels } = state;
    const at = xs[i];
    const format = nudges.kind.text;
    $('amount-text').textContent = format(at);
    $('amount').setAttribute('aria-valuetext', `${nudges.kind.name} ${format(at)}, capsule ${labels[j]} has length ${predictions[i].lengths[j].toFixed(2)}`);
    paint($('nudged'), pictures[i]);
    redrawNudged(JSON.stringify({ class: j, pose: predictions[i].poses[j] }));
    $('pose-caption').textContent = `The pose of capsule ${labels[j]}; the numbers that move most in colour`;

    plot($('length-plot'), { xs, at, format, low: 0, high: 1, ticks: [0, 0.5, 1],
        series: ranked(predictions.map((p) => p.lengths), labels, (v) => Math.max(...v)) });
    const poses = predictions.map((p) => p.poses[j]);
    const high = Math.ceil(Math.max(...poses.flat().map(Math.abs)) * 5) / 5;
    const series = ranked(poses, poses[0].map((_, d) => `no. ${d + 1}`), span);
    plot($('pose-plot'), { xs, at, format, low: -high, high, ticks: [-high, 0, high], series });
    showFollowing(series, predictions.map((p) => p.lengths[j]), xs);
}

function forget() {
    nudges = null;
    wipe($('nudged'), $('nudged-redrawn'));
    for (const id of ['pose-plot', 'length-plot', 'following'])
        $(id).replaceChildren();
}

makeKinds($('kinds'), 'kind', KINDS, kind, (k) => {
    kind = k;
    resetAmount();
    startNudge();
});
resetAmount();
$('amount').addEventListener('input', show);
new ResizeObserver(show).observe($('pose-plot'));
on('capsule', () => (state.answer ? startNudge() : forget()));
