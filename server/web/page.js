/*
 * page.js - what the page does: picture -> answer -> pose -> pictures of it.
 *
 * Each thing asked of the server has its own channel (client.js): `ask` sends
 * the picture, `redraw` and `turn` have a pose drawn; `sweep` and `nudge` cost
 * more and follow once nothing has changed for a moment.
 */
import { call, latest, onTrouble, setKey } from './client.js';
import { Pad, drawStrokes, imagesJson, readImage, sampleStrokes } from './pad.js';
import { plot } from './plot.js';
import { SAMPLES } from './samples.js';

const SETTLE_MS = 150;
const POSE_RANGE = 0.7; /* of the sliders; a pose is shorter than 1 in all */
const DETECTED = 0.5;
const FIRST_SAMPLE = 3;

const $ = (id) => document.getElementById(id);
const signed = (v, digits) => `${v < 0 ? '\u2212' : v > 0 ? '+' : ''}${Math.abs(v).toFixed(digits)}`;

function make(parent, name, properties = {}) {
    return parent.appendChild(Object.assign(document.createElement(name), properties));
}

/* Calls fn once ms have passed without another call. */
function settled(ms, fn) {
    let timer;
    return () => {
        clearTimeout(timer);
        timer = setTimeout(fn, ms);
    };
}

function paint(canvas, bitmap) {
    if (canvas.width !== bitmap.width || canvas.height !== bitmap.height)
        Object.assign(canvas, { width: bitmap.width, height: bitmap.height });
    canvas.getContext('2d').drawImage(bitmap, 0, 0);
}

function wipe(...canvases) {
    for (const canvas of canvases)
        canvas.getContext('2d').clearRect(0, 0, canvas.width, canvas.height);
}

/* ---- State ----------------------------------------------------------------- */

let labels = [];
let answer = null;  /* of /classify; null: nothing is drawn */
let chosen = null;  /* the capsule that is turned; null: the winner */
let pose = [];      /* as turned */

const capsule = () => chosen ?? answer.class;
const poseBody = (values) => JSON.stringify({ class: capsule(), pose: values });

/* ---- Trouble --------------------------------------------------------------- */

onTrouble((sentence, needsKey) => {
    $('status').textContent = !sentence ? '' : needsKey ? sentence : `${sentence} Trying again\u2026`;
    $('key').hidden = !needsKey;
    document.body.classList.toggle('troubled', Boolean(sentence));
});

/* ---- The answer ------------------------------------------------------------ */

const bars = [];

function makeBars() {
    labels.forEach((label, i) => {
        const row = make($('bars'), 'label', { className: 'bar' });
        const radio = make(row, 'input', { type: 'radio', name: 'capsule', value: i, className: 'unseen' });
        make(row, 'span', { className: 'name', textContent: label });
        const track = make(row, 'span', { className: 'track' });
        bars.push({ row, radio, fill: make(track, 'span', { className: 'fill' }),
            value: make(row, 'span', { className: 'value' }) });
        radio.addEventListener('change', () => {
            chosen = i;
            showPose();
        });
    });
}

function showBars() {
    bars.forEach(({ row, radio, fill, value }, i) => {
        const length = answer?.probabilities[i] ?? 0;
        fill.style.width = `${length * 100}%`;
        value.textContent = answer ? length.toFixed(2) : '';
        radio.disabled = !answer;
        radio.checked = Boolean(answer) && i === capsule();
        radio.setAttribute('aria-label', `${labels[i]}, length ${length.toFixed(2)}`);
        row.classList.toggle('long', length > DETECTED);
    });
}

/* The labels of the capsules that are long, the longest first. */
function longOnes() {
    return answer.probabilities.map((p, i) => [p, i]).filter(([p]) => p > DETECTED)
        .sort((a, b) => b[0] - a[0]).map(([, i]) => labels[i]);
}

function verdict() {
    const long = longOnes();
    const length = answer.probability.toFixed(2);
    if (long.length === 0)
        return `No capsule is long. The longest is ${answer.label}, ${length}.`;
    if (long.length === 1)
        return `It reads ${answer.label}. Length ${length}.`;
    return `Several capsules are long: ${long.join(' and ')}.`;
}

/* Does the picture look like what the network was trained on?  [sentence, class];
 * it is judged by how well the winner alone can draw it. */
function known() {
    if (!answer || answer.in_distribution === null)
        return ['', ''];
    if (answer.in_distribution)
        return ['Looks like a digit it knows.', 'good'];
    return [longOnes().length > 1 ? 'None of them alone can draw it all: two digits, or none.'
        : 'Does not look like any digit it knows.', 'bad'];
}

const announce = settled(500, () => {
    $('summary').textContent = `${$('sentence').textContent} ${$('known').textContent}`;
});

function showAnswer() {
    $('digit').textContent = answer ? answer.label : '\u00a0';
    $('sentence').textContent = answer ? verdict() : 'Draw a digit, or take a sample.';
    [$('known').textContent, $('known').className] = known();
    $('refused').textContent = '';
    showBars();
    announce();
}

/* From the last change of the picture until the answer is on the screen. */
function showTiming(since) {
    requestAnimationFrame(() => setTimeout(() => {
        $('timing').textContent = `Answered in ${Math.round(performance.now() - since)} ms.`;
    }));
}

/* A job is { encode, since }: encoded only when it is its turn. */
const ask = latest(
    async ({ encode }) => {
        const body = encode();
        const [classified, seen] = await Promise.all([
            call('classify?poses=1', body),
            call('reconstruct?debug=normalized', body, 'bitmap'),
        ]);
        return { prediction: classified.predictions[0], seen };
    },
    ({ prediction, seen }, { since }) => {
        if (pad.isEmpty)
            return;
        answer = prediction;
        chosen = null;
        showAnswer();
        paint($('seen'), seen);
        showTiming(since);
        showPose();
    },
    (job, sentence) => {
        forget();
        $('sentence').textContent = 'This picture cannot be read.';
        $('refused').textContent = sentence;
    },
);

function forget() {
    answer = null;
    chosen = null;
    showAnswer();
    wipe($('seen'), $('redrawn'), $('turned'), $('sweep'), $('nudged'), $('nudged-redrawn'));
    $('pose-plot').replaceChildren();
    $('length-plot').replaceChildren();
    nudges = null;
    showSliders();
}

/* ---- The pose --------------------------------------------------------------- */

const sliders = [];

function makeSliders(n) {
    for (let i = 0; i < n; i++) {
        const row = make($('sliders'), 'label', { className: 'slider' });
        make(row, 'span', { className: 'name', textContent: i + 1 });
        const input = make(row, 'input', { type: 'range', min: -POSE_RANGE, max: POSE_RANGE, step: 0.01 });
        input.setAttribute('aria-label', `Pose number ${i + 1}`);
        sliders.push({ input, value: make(row, 'output') });
        input.addEventListener('input', () => {
            pose[i] = Number(input.value);
            showSliders();
            turned();
        });
    }
}

function showSliders() {
    sliders.forEach(({ input, value }, i) => {
        input.disabled = !answer;
        if (answer && Math.abs(Number(input.value) - pose[i]) > 0.005)
            input.value = pose[i];
        value.textContent = answer ? signed(pose[i], 2) : '';
    });
    $('reset').disabled = !answer;
    $('turned-caption').textContent = answer ? `Capsule ${labels[capsule()]}` : '\u00a0';
    $('redrawn-caption').textContent = answer ? `What capsule ${labels[capsule()]} draws` : 'What its capsule draws';
}

/* Puts the pose that the network saw on the sliders. */
function showPose() {
    pose = [...answer.pose[capsule()]];
    showSliders();
    redraw(poseBody(pose));
    turn(poseBody(pose));
    costly();
    startNudge();
}

/* A channel that has poses drawn on a canvas; its jobs are bodies. */
function drawer(path, id) {
    return latest(
        (body) => call(path, body, 'bitmap'),
        (bitmap) => answer && paint($(id), bitmap),
    );
}

const redraw = drawer('reconstruct', 'redrawn');
const turn = drawer('reconstruct', 'turned');
const sweep = drawer('reconstruct?sweep=1', 'sweep');
const costly = settled(SETTLE_MS, () => answer && sweep(poseBody(pose)));

function turned() {
    turn(poseBody(pose));
    costly();
}

/* ---- The nudge -------------------------------------------------------------- */

/* Each kind moves the 28 x 28 picture about its middle; v runs from -max to max. */
const KINDS = [
    { name: 'Right', max: 5, steps: 10, text: (v) => `${signed(v, 0)} px`, move: (g, v) => g.translate(v, 0) },
    { name: 'Down', max: 5, steps: 10, text: (v) => `${signed(v, 0)} px`, move: (g, v) => g.translate(0, v) },
    { name: 'Rotate', max: 40, steps: 20, text: (v) => `${signed(v, 0)}\u00b0`, move: (g, v) => g.rotate((v * Math.PI) / 180) },
    { name: 'Scale', max: 30, steps: 20, text: (v) => `${signed(v, 0)} %`, move: (g, v) => g.scale(1 + v / 100, 1 + v / 100) },
];

let kind = KINDS[2];
let nudges = null; /* { kind, capsule, xs, pictures, predictions } */

function nudgedPicture(v, move) {
    const source = $('seen');
    const { width, height } = source;
    const canvas = Object.assign(document.createElement('canvas'), { width, height });
    const g = canvas.getContext('2d', { willReadFrequently: true });
    g.fillRect(0, 0, width, height);
    g.imageSmoothingQuality = 'high';
    g.translate(width / 2, height / 2);
    move(g, v);
    g.drawImage(source, -width / 2, -height / 2);
    return canvas;
}

function makeKinds() {
    for (const k of KINDS) {
        const label = make($('kinds'), 'label');
        const radio = make(label, 'input', { type: 'radio', name: 'kind', className: 'unseen', checked: k === kind });
        make(label, 'span', { textContent: k.name });
        radio.addEventListener('change', () => {
            kind = k;
            resetAmount();
            startNudge();
        });
    }
    $('amount').addEventListener('input', showNudge);
    resetAmount();
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
        if (!answer || result.kind !== kind)
            return;
        nudges = result;
        showNudge();
    },
);

const startNudge = settled(SETTLE_MS, () => answer && nudge({ kind, capsule: capsule() }));

const redrawNudged = drawer('reconstruct', 'nudged-redrawn');

/* The series of a plot: of rows [x][i] those with a label, the ones that move
 * most (or that are longest) ranked. */
function ranked(rows, names, weight) {
    const series = names.map((label, i) => ({ label, values: rows.map((row) => row[i]) }));
    [...series].sort((a, b) => weight(b.values) - weight(a.values)).slice(0, 4)
        .filter((s) => weight(s.values) > 0.1).forEach((s, rank) => (s.rank = rank));
    return series;
}

function showNudge() {
    if (!nudges)
        return;
    const i = Number($('amount').value);
    const { xs, predictions, pictures, capsule: j } = nudges;
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
    plot($('pose-plot'), { xs, at, format, low: -high, high, ticks: [-high, 0, high],
        series: ranked(poses, poses[0].map((_, d) => `no. ${d + 1}`), (v) => Math.max(...v) - Math.min(...v)) });
}

/* ---- The pad ---------------------------------------------------------------- */

const pad = new Pad($('pad'), () => {
    $('undo').disabled = !pad.canUndo;
    $('clear').disabled = pad.isEmpty;
    $('hint').hidden = !pad.isEmpty;
    if (pad.isEmpty)
        forget();
    else
        ask({ encode: () => pad.encode(), since: performance.now() });
});

async function take(file) {
    if (!file)
        return;
    try {
        pad.setImage(await readImage(file));
    } catch {
        $('refused').textContent = `\u201c${file.name}\u201d is not a picture that this browser can read.`;
    }
}

function makeSamples() {
    const ratio = Math.max(2, devicePixelRatio);
    for (const sample of SAMPLES) {
        const button = make($('samples'), 'button', { type: 'button' });
        button.setAttribute('aria-label', `Sample: ${sample.name}`);
        const canvas = make(button, 'canvas', { width: 28 * ratio, height: 28 * ratio });
        const show = () => {
            wipe(canvas);
            drawStrokes(canvas.getContext('2d'), sampleStrokes(sample, 0.08), canvas.width, getComputedStyle(button).color);
        };
        show();
        matchMedia('(prefers-color-scheme: dark)').addEventListener('change', show);
        button.addEventListener('click', () => pad.setSample(sample));
    }
}

function listen() {
    $('undo').addEventListener('click', () => pad.undo());
    $('clear').addEventListener('click', () => pad.clear());
    $('reset').addEventListener('click', () => answer && showPose());
    $('key').addEventListener('submit', (e) => {
        e.preventDefault();
        setKey($('key-text').value.trim());
    });
    $('pen').addEventListener('input', () => (pad.penWidth = $('pen').value / 100));
    $('file').addEventListener('change', () => {
        take($('file').files[0]);
        $('file').value = '';
    });
    document.addEventListener('paste', (e) => take(e.clipboardData.files[0]));
    document.addEventListener('dragover', (e) => e.preventDefault());
    document.addEventListener('drop', (e) => {
        e.preventDefault();
        take(e.dataTransfer.files[0]);
    });
    document.addEventListener('keydown', (e) => {
        if ((e.ctrlKey || e.metaKey) && !e.shiftKey && e.key === 'z') {
            e.preventDefault();
            pad.undo();
        }
    });
    new ResizeObserver(showNudge).observe($('pose-plot'));
}

/* ---- Start ------------------------------------------------------------------ */

const start = latest(
    () => call('model'),
    (model) => {
        labels = model.labels;
        $('model').textContent = `${model.name}, ${model.parameters.toLocaleString('en')} parameters, capsnetd ${model.version}.`;
        makeBars();
        makeSliders(model.shape.pose_dims);
        if (pad.isEmpty)
            pad.setSample(SAMPLES[FIRST_SAMPLE]);
    },
);

makeSamples();
makeKinds();
listen();
start({});
