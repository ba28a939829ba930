/*
 * votes.js - the panel "Who votes for it": what each place of the picture adds to the
 * winner and to the runner-up, round by round, and the lengths that come of it.
 *
 * A place (r, c) of the routing grid is the middle of a window of the picture: of
 * conv1's and PrimaryCaps' kernels together, moved by PrimaryCaps' stride.  Its share
 * is drawn there, spread by a bell curve.
 */
import { call, latest } from './client.js';
import { $, make, settled, signed } from './dom.js';
import { bars } from './plot.js';
import { SETTLE_MS, on, state } from './state.js';

const SHARP = 10;      /* pixels drawn for each of the picture's */
const SPREAD = 1.1;    /* of the bell curve, in the picture's pixels */
const DIGIT = 0.55;    /* brightness of the digit beneath */
const VEILED = 0.5;    /* of the digit's brightness, taken away by a whole share */
const FOR = [70, 165, 255];
const AGAINST = [255, 150, 40];
const ARROWS = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };

const maps = ['winner', 'runner-up'].map((id) => ({ canvas: $(id), caption: $(`${id}-caption`),
    g: $(id).getContext('2d', { willReadFrequently: true }), j: 0 }));

let routing = null; /* of the answer */
let place = null;   /* [row, column] that is pointed at */

/* ---- Places and pixels --------------------------------------------------------- */

const stride = () => state.model.shape.primary_stride;
const side = () => state.model.shape.conv1_kernel + state.model.shape.primary_kernel - 1;
const middle = (i) => i * stride() + side() / 2;
const round = () => Number($('round').value);

/* How much of a place's share each pixel row, or column, gets: [places][pixels]. */
function bells(places, pixels) {
    return Array.from({ length: places }, (_, i) => Float32Array.from({ length: pixels }, (__, p) =>
        Math.exp(-(((p + 0.5) / SHARP - middle(i)) ** 2) / (2 * SPREAD * SPREAD))));
}

/* The share of every pixel. */
function spread(votes, width, height) {
    const down = bells(votes.length, height);
    const across = bells(votes[0].length, width);
    const heat = new Float32Array(width * height);
    votes.forEach((row, r) => {
        const line = new Float32Array(width);
        row.forEach((vote, c) => across[c].forEach((bell, x) => (line[x] += vote * bell)));
        for (let y = 0; y < height; y++)
            for (let x = 0; x < width; x++)
                heat[y * width + x] += down[r][y] * line[x];
    });
    return heat;
}

/* The greatest share of any place in any round, so that colours can be compared. */
function greatest() {
    return Math.max(1e-6, ...routing.rounds.flatMap(({ votes }) => maps.flatMap(({ j }) => votes[j].flat().map(Math.abs))));
}

function drawMap({ canvas, g, j }, scale) {
    const seen = $('seen');
    const [width, height] = [seen.width * SHARP, seen.height * SHARP];
    Object.assign(canvas, { width, height });
    g.imageSmoothingEnabled = false;
    g.drawImage(seen, 0, 0, width, height);
    const image = g.getImageData(0, 0, width, height);
    spread(routing.rounds[round()].votes[j], width, height).forEach((share, p) => {
        const colour = share > 0 ? FOR : AGAINST;
        const alpha = Math.sqrt(Math.min(1, Math.abs(share) / scale)); /* small ones are to be seen, too */
        for (let k = 0; k < 3; k++) {
            const under = image.data[4 * p + k] * DIGIT;
            image.data[4 * p + k] = under + (colour[k] - under * VEILED) * alpha;
        }
        image.data[4 * p + 3] = 255;
    });
    g.putImageData(image, 0, 0);
    if (!place)
        return;
    const [y, x] = place.map((i) => i * stride() * SHARP);
    g.strokeStyle = '#fff';
    g.lineWidth = 0.2 * SHARP;
    g.setLineDash([0.6 * SHARP, 0.5 * SHARP]);
    g.strokeRect(x, y, side() * SHARP, side() * SHARP);
    g.setLineDash([]);
    g.beginPath();
    g.arc(x + (side() / 2) * SHARP, y + (side() / 2) * SHARP, 0.7 * SHARP, 0, 7);
    g.stroke();
}

/* ---- What is said ---------------------------------------------------------------- */

const sum = (map) => map.flat().reduce((a, b) => a + b, 0);

function showShare() {
    if (!place)
        return void ($('share').textContent = 'Point at a place, or use the arrow keys on a picture, to see its share.');
    const [r, c] = place;
    const { votes, coupling } = routing.rounds[round()];
    const [a, b] = maps.map(({ j }) => ({ label: state.labels[j], share: signed(votes[j][r][c], 2), sent: Math.round(coupling[j][r][c] * 100) }));
    $('share').textContent = `This place adds ${a.share} to ${a.label} and ${b.share} to ${b.label}. ` +
        `Its capsules send ${a.sent} % of their vote to ${a.label}, ${b.sent} % to ${b.label}.`;
}

function showRounds() {
    routing.rounds.forEach(({ lengths }, i) => {
        const row = $('rounds').children[i];
        row.classList.toggle('now', i === round());
        const ranks = state.labels.map((_, j) => maps.findIndex((map) => map.j === j));
        bars(row.querySelector('svg'), { values: lengths, labels: state.labels, ranks });
    });
}

function show() {
    if (!routing)
        return;
    const scale = greatest();
    const { votes, lengths } = routing.rounds[round()];
    for (const map of maps) {
        drawMap(map, scale);
        map.caption.textContent = `For ${state.labels[map.j]}: ${signed(sum(votes[map.j]), 2)} in all, length ${lengths[map.j].toFixed(2)}`;
        map.canvas.setAttribute('aria-label', `Votes. ${map.caption.textContent}. Arrow keys move over the places.`);
    }
    const text = `Round ${round() + 1} of ${routing.rounds.length}`;
    $('round-text').textContent = text;
    $('round').setAttribute('aria-valuetext', `${text}, ${maps.map(({ j }) => `${state.labels[j]} has length ${lengths[j].toFixed(2)}`).join(', ')}`);
    showShare();
    showRounds();
}

/* ---- Asking ------------------------------------------------------------------------ */

const ask = latest(
    async (body) => ({ body, prediction: (await call('classify?routing=1', body)).predictions[0] }),
    ({ body, prediction }) => {
        if (body !== state.body)
            return;
        const fresh = routing?.rounds.length !== prediction.routing.rounds.length;
        routing = prediction.routing;
        const ranking = prediction.probabilities.map((p, j) => [p, j]).sort((a, b) => b[0] - a[0]);
        maps.forEach((map, i) => (map.j = ranking[i][1]));
        if (fresh)
            makeRounds();
        show();
    },
);

/* A slider as long as there are rounds, at the last, and bars for each. */
function makeRounds() {
    const last = routing.rounds.length - 1;
    Object.assign($('round'), { max: last, value: last, disabled: false });
    $('rounds').replaceChildren();
    for (let i = 0; i <= last; i++) {
        const figure = make($('rounds'), 'figure');
        make(figure, 'figcaption', { textContent: `Round ${i + 1}` });
        const svg = figure.appendChild(document.createElementNS('http://www.w3.org/2000/svg', 'svg'));
        svg.setAttribute('role', 'img');
        svg.setAttribute('aria-label', `Capsule lengths after round ${i + 1}`);
    }
}

function forget() {
    routing = null;
    place = null;
    $('rounds').replaceChildren();
    $('round').disabled = true;
    $('round-text').textContent = '';
    $('share').textContent = '';
    for (const { canvas, g, caption } of maps) {
        g.clearRect(0, 0, canvas.width, canvas.height);
        caption.textContent = '\u00a0';
    }
}

/* ---- Pointing ------------------------------------------------------------------------ */

function point(at) {
    if (!routing || String(at) === String(place))
        return;
    place = at;
    show();
}

/* The place that adds or takes most. */
function loudest(j) {
    const shares = routing.rounds[round()].votes[j].flat().map(Math.abs);
    const at = shares.indexOf(Math.max(...shares));
    return [Math.floor(at / routing.grid[1]), at % routing.grid[1]];
}

function pointAt(canvas, event) {
    const box = canvas.getBoundingClientRect();
    const seen = $('seen');
    const nearest = (pixel, n) => Math.min(n - 1, Math.max(0, Math.round((pixel - side() / 2) / stride())));
    point([nearest(((event.clientY - box.top) / box.height) * seen.height, routing?.grid[0]),
        nearest(((event.clientX - box.left) / box.width) * seen.width, routing?.grid[1])]);
}

for (const map of maps) {
    const { canvas } = map;
    canvas.addEventListener('pointermove', (e) => pointAt(canvas, e));
    canvas.addEventListener('pointerdown', (e) => pointAt(canvas, e));
    canvas.addEventListener('pointerleave', (e) => e.pointerType === 'mouse' && document.activeElement !== canvas && point(null));
    canvas.addEventListener('blur', () => point(null));
    canvas.addEventListener('focus', () => routing && !place && point(loudest(map.j)));
    canvas.addEventListener('keydown', (e) => {
        const step = ARROWS[e.key];
        if (!step || !routing)
            return;
        e.preventDefault();
        point((place ?? [0, 0]).map((i, k) => Math.min(routing.grid[k] - 1, Math.max(0, i + step[k]))));
    });
}
$('round').addEventListener('input', show);
new ResizeObserver(() => routing && showRounds()).observe($('rounds'));
const startAsking = settled(SETTLE_MS, () => state.answer && ask(state.body));
on('answer', () => (state.answer ? startAsking() : forget()));
