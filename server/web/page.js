/*
 * page.js - what the page does first: the pad, what is asked, the answer.  The panels
 * beneath are modules of their own, fetched once the first answer is on the screen.
 *
 * Each thing asked of the server has its own channel (client.js): `ask` sends the
 * picture; what costs more follows once nothing has changed for a moment.
 */
import { call, latest, onTrouble, setKey } from './client.js';
import { $, make, makeBar, paint, settled, showBar, wipe } from './dom.js';
import { copyLink, linkPad, unlink } from './link.js';
import { Pad, drawStrokes, readImage, sampleStrokes } from './pad.js';
import { SAMPLES } from './samples.js';
import { DETECTED, capsule, choose, drawer, known, on, setAnswer, state } from './state.js';

const FIRST_SAMPLE = 3;

/* ---- Trouble --------------------------------------------------------------- */

onTrouble((sentence, needsKey) => {
    $('status').textContent = !sentence ? '' : needsKey ? sentence : `${sentence} Trying again\u2026`;
    $('key').hidden = !needsKey;
    document.body.classList.toggle('troubled', Boolean(sentence));
});

/* ---- The answer ------------------------------------------------------------ */

const bars = [];

function makeBars() {
    state.labels.forEach((label, i) => {
        const bar = makeBar($('bars'), 'label', label);
        const radio = make(bar.row, 'input', { type: 'radio', name: 'capsule', value: i, className: 'unseen' });
        radio.addEventListener('change', () => choose(i));
        bars.push({ ...bar, radio });
    });
}

function showBars() {
    const { answer, labels } = state;
    bars.forEach((bar, i) => {
        const length = answer?.probabilities[i];
        showBar(bar, length, length > DETECTED);
        bar.radio.disabled = !answer;
        bar.radio.checked = Boolean(answer) && i === capsule();
        bar.radio.setAttribute('aria-label', answer ? `${labels[i]}, length ${length.toFixed(2)}` : labels[i]);
    });
}

/* The labels of the capsules that are long, the longest first. */
function longOnes() {
    return state.answer.probabilities.map((p, i) => [p, i]).filter(([p]) => p > DETECTED)
        .sort((a, b) => b[0] - a[0]).map(([, i]) => state.labels[i]);
}

function verdict() {
    const long = longOnes();
    const length = state.answer.probability.toFixed(2);
    if (long.length === 0)
        return `No capsule is long. The longest is ${state.answer.label}, ${length}.`;
    if (long.length === 1)
        return `It reads ${state.answer.label}. Length ${length}.`;
    return `Several capsules are long: ${long.join(' and ')}.`;
}

const announce = settled(500, () => {
    $('summary').textContent = `${$('sentence').textContent} ${$('known').textContent}`;
});

function showAnswer() {
    const { answer } = state;
    $('digit').textContent = answer ? answer.label : '\u00a0';
    $('sentence').textContent = answer ? verdict() : 'Draw a digit, or take a sample.';
    [$('known').textContent, $('known').className] = known(answer);
    $('refused').textContent = '';
    if (!answer)
        wipe($('seen'), $('redrawn'));
    announce();
}

const redraw = drawer('reconstruct', 'redrawn');

function showCapsule() {
    const { answer, labels } = state;
    showBars();
    $('redrawn-caption').textContent = answer ? `What capsule ${labels[capsule()]} draws` : 'What its capsule draws';
    if (answer)
        redraw(JSON.stringify({ class: capsule(), pose: answer.pose[capsule()] }));
}

/* From the last change of the picture until the answer is on the screen. */
function showTiming(since) {
    requestAnimationFrame(() => setTimeout(() => {
        $('timing').textContent = `Answered in ${Math.round(performance.now() - since)} ms.`;
        loadPanels();
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
        return { prediction: classified.predictions[0], seen, body };
    },
    ({ prediction, seen, body }, { since }) => {
        if (pad.isEmpty)
            return;
        paint($('seen'), seen);
        setAnswer(prediction, body);
        showTiming(since);
    },
    (job, sentence) => {
        setAnswer(null, null);
        $('sentence').textContent = 'This picture cannot be read.';
        $('refused').textContent = sentence;
    },
);

/* ---- The panels beneath ------------------------------------------------------- */

let panels = null;

function loadPanels() {
    if (state.model && state.answer)
        panels ??= Promise.all([import('./votes.js'), import('./parts.js'), import('./turn.js'),
            import('./nudge.js'), import('./pair.js'), import('./number.js')])
            .catch(() => ($('status').textContent = 'A part of this page did not arrive. Please load it again.'));
}

async function save(button) {
    const { savePanel } = await import('./save.js');
    const panel = button.closest('section');
    await savePanel(panel, `capsules-${panel.id}`);
}

/* ---- The pad ---------------------------------------------------------------- */

const pad = new Pad($('pad'), (finished) => {
    $('undo').disabled = !pad.canUndo;
    $('clear').disabled = pad.isEmpty;
    $('link').disabled = pad.strokes.length === 0;
    $('hint').hidden = !pad.isEmpty;
    $('linked').textContent = '';
    if (finished)
        unlink('draw');
    if (pad.isEmpty)
        setAnswer(null, null);
    else
        ask({ encode: () => pad.encode(), since: performance.now() });
});

const drawSample = (sample) => pad.setStrokes(sampleStrokes(sample, pad.penWidth));

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
        button.addEventListener('click', () => drawSample(sample));
    }
}

function listen() {
    $('undo').addEventListener('click', () => pad.undo());
    $('clear').addEventListener('click', () => pad.clear());
    $('link').addEventListener('click', async () => ($('linked').textContent = await copyLink()));
    for (const button of document.querySelectorAll('.save'))
        button.addEventListener('click', () => save(button));
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
}

/* What a link holds, or says that it holds nothing. */
function takeLink(strokes) {
    if (strokes)
        pad.setStrokes(strokes);
    else
        $('refused').textContent = 'This link holds no drawing that can be read; perhaps a part of it is missing.';
}

/* ---- Start ------------------------------------------------------------------ */

const start = latest(
    () => call('model'),
    (model) => {
        state.model = model;
        state.labels = model.labels;
        $('model').textContent = `${model.name}, ${model.parameters.toLocaleString('en')} parameters, capsnetd ${model.version}.`;
        makeBars();
        on('answer', showAnswer);
        on('capsule', showCapsule);
        if (!linkPad('draw', pad, 1, takeLink) && pad.isEmpty)
            drawSample(SAMPLES[FIRST_SAMPLE]);
        loadPanels();
    },
);

makeSamples();
listen();
start({});
