/*
 * parts.js - the panel "Take it apart": what the network saw, cut into pieces that can
 * be dragged, exchanged and shifted, and what it says of the picture that they make.
 *
 * A piece stands at x, y, pixels of the picture; its home is where it was cut from.
 * Where two lie upon each other the lighter pixel shows, on the page and in the
 * picture that is sent.
 */
import { call, latest } from './client.js';
import { $, make, makeBar, makeKinds, showBar } from './dom.js';
import { imagesJson } from './pad.js';
import { DETECTED, known, on, redrawn, state } from './state.js';

const CUTS = [
    { name: 'Left, right', columns: 2, rows: 1, names: ['Left half', 'Right half'] },
    { name: 'Top, bottom', columns: 1, rows: 2, names: ['Upper half', 'Lower half'] },
    { name: 'Quarters', columns: 2, rows: 2, names: ['Upper left quarter', 'Upper right quarter', 'Lower left quarter', 'Lower right quarter'] },
];
const NEAR = 3; /* pixels: a piece let go so near to another's place takes it */
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

let cut = CUTS[2];
let pieces = [];    /* { canvas, name, home: { x, y, width, height }, x, y } */
let picked = null;  /* the piece that the next one is exchanged with */
let drag = null;    /* { piece, id, x, y of the pointer, from: { x, y } of the piece } */
let top = 0;        /* the highest of the pieces' levels */
const rows = [];    /* the bars */

/* ---- The pieces ---------------------------------------------------------------- */

const isHome = () => pieces.every(({ x, y, home }) => x === home.x && y === home.y);

function place(piece, x, y) {
    const { width, height } = $('seen');
    piece.x = Math.round(Math.min(width - piece.home.width / 2, Math.max(-piece.home.width / 2, x)));
    piece.y = Math.round(Math.min(height - piece.home.height / 2, Math.max(-piece.home.height / 2, y)));
    Object.assign(piece.canvas.style, { left: `${(piece.x / width) * 100}%`, top: `${(piece.y / height) * 100}%` });
}

/* New pieces, at home. */
function makePieces() {
    const { width, height } = $('seen');
    $('stage').replaceChildren();
    picked = null;
    pieces = cut.names.map((name, i) => {
        const [w, h] = [width / cut.columns, height / cut.rows];
        const [x, y] = [(i % cut.columns) * w, Math.floor(i / cut.columns) * h];
        const canvas = make($('stage'), 'canvas', { width: w, height: h, tabIndex: 0, className: 'piece' });
        Object.assign(canvas.style, { width: `${100 / cut.columns}%`, height: `${100 / cut.rows}%` });
        canvas.setAttribute('role', 'button');
        canvas.setAttribute('aria-label', name);
        canvas.setAttribute('aria-describedby', 'parts-keys');
        const piece = { canvas, name, home: { x, y, width: w, height: h } };
        listen(piece);
        place(piece, x, y);
        return piece;
    });
}

/* The picture of this moment on the pieces, wherever they are. */
function fill() {
    for (const { canvas, home } of pieces) {
        const g = canvas.getContext('2d');
        g.clearRect(0, 0, home.width, home.height);
        g.drawImage($('seen'), -home.x, -home.y);
    }
}

function assembled() {
    return redrawn((g) => {
        g.globalCompositeOperation = 'lighten';
        for (const { canvas, x, y } of pieces)
            g.drawImage(canvas, x, y);
    });
}

/* Every piece in the place of the one across. */
function exchangeAll() {
    pieces.forEach((piece, i) => {
        const { home } = pieces[pieces.length - 1 - i];
        place(piece, home.x, home.y);
    });
}

/* Every piece in another's place, and another order than now. */
function shuffle() {
    const before = pieces.map(({ x, y }) => `${x},${y}`);
    for (let tries = 0; tries < 100; tries++) {
        const order = pieces.map((_, i) => i).sort(() => Math.random() - 0.5);
        const isNew = pieces.length === 2 || order.some((to, i) => `${pieces[to].home.x},${pieces[to].home.y}` !== before[i]);
        if (isNew && order.every((to, i) => to !== i)) {
            pieces.forEach((piece, i) => place(piece, pieces[order[i]].home.x, pieces[order[i]].home.y));
            return;
        }
    }
}

function exchange(a, b) {
    const { x, y } = a;
    place(a, b.x, b.y);
    place(b, x, y);
}

/* ---- The answer -------------------------------------------------------------------- */

const ask = latest(
    async ({ body }) => (await call('classify?normalize=none', body)).predictions[0],
    (prediction) => state.answer && show(prediction),
);

function changed() {
    $('together').disabled = isHome();
    if (state.answer)
        ask({ body: imagesJson([assembled()]) });
}

function makeBars() {
    for (const label of state.labels) {
        const bar = makeBar($('parts-bars'), 'div', label);
        rows.push({ ...bar, whole: make(bar.track, 'span', { className: 'whole' }) });
    }
}

/* prediction: of the pieces; null: nothing is drawn. */
function show(prediction) {
    const { answer, labels } = state;
    rows.forEach((bar, i) => {
        const length = prediction?.probabilities[i];
        showBar(bar, length, length > DETECTED);
        bar.whole.hidden = !prediction || i !== answer.class;
        bar.whole.style.left = `${(answer?.probabilities[i] ?? 0) * 100}%`;
    });
    [$('parts-known').textContent, $('parts-known').className] = known(prediction);
    if (!prediction) {
        $('parts-sentence').textContent = $('counts').textContent = '';
        return;
    }
    const [label, now, whole] = [labels[answer.class], prediction.probabilities[answer.class], answer.probability];
    $('parts-sentence').textContent = `Capsule ${label}: length ${now.toFixed(2)}, and ${whole.toFixed(2)} as it was drawn.`;
    $('counts').textContent = `A network that only counts parts would still read ${label}, since every part is there.`;
}

/* ---- Mouse, finger, keyboard ------------------------------------------------------------ */

function pick(piece) {
    picked = piece;
    for (const one of pieces)
        one.canvas.setAttribute('aria-pressed', one === piece);
}

/* The first press picks a piece, the second exchanges it. */
function press(piece) {
    if (picked && picked !== piece) {
        exchange(picked, piece);
        changed();
    }
    pick(picked ? null : piece);
}

function letGo({ piece, from }) {
    if (piece.x === from.x && piece.y === from.y)
        return press(piece);
    const isAt = (one, x, y) => Math.abs(one.x - x) <= NEAR && Math.abs(one.y - y) <= NEAR;
    const there = pieces.find((one) => one !== piece && isAt(piece, one.x, one.y));
    const slot = pieces.find(({ home }) => isAt(piece, home.x, home.y));
    if (there) {
        place(piece, there.x, there.y);
        place(there, from.x, from.y);
    } else if (slot && !isAt({ x: from.x, y: from.y }, slot.home.x, slot.home.y)) {
        place(piece, slot.home.x, slot.home.y);
    }
    pick(null);
    changed();
}

function listen(piece) {
    const { canvas } = piece;
    canvas.addEventListener('pointerdown', (e) => {
        if (drag || e.button !== 0)
            return;
        canvas.setPointerCapture(e.pointerId);
        canvas.style.zIndex = ++top; /* above the others */
        drag = { piece, id: e.pointerId, x: e.clientX, y: e.clientY, from: { x: piece.x, y: piece.y } };
    });
    canvas.addEventListener('pointermove', (e) => {
        if (drag?.id !== e.pointerId)
            return;
        const pixel = $('stage').clientWidth / $('seen').width;
        const before = [piece.x, piece.y];
        place(piece, drag.from.x + (e.clientX - drag.x) / pixel, drag.from.y + (e.clientY - drag.y) / pixel);
        if (piece.x !== before[0] || piece.y !== before[1])
            changed();
    });
    const end = (e) => {
        if (drag?.id !== e.pointerId)
            return;
        const done = drag;
        drag = null;
        letGo(done);
    };
    canvas.addEventListener('pointerup', end);
    canvas.addEventListener('pointercancel', end);
    canvas.addEventListener('keydown', (e) => {
        const step = ARROWS[e.key];
        if (step) {
            place(piece, piece.x + step[0], piece.y + step[1]);
            changed();
        } else if (e.key === 'Enter' || e.key === ' ') {
            press(piece);
        } else if (e.key === 'Escape') {
            pick(null);
        } else {
            return;
        }
        e.preventDefault();
    });
}

/* ---- Start --------------------------------------------------------------------------------- */

function begin(kind) {
    cut = kind;
    makePieces();
    fill();
    exchangeAll();
    changed();
}

makeBars();
makeKinds($('cuts'), 'cut', CUTS, cut, begin);
$('shuffle').addEventListener('click', () => {
    shuffle();
    pick(null);
    changed();
});
$('together').addEventListener('click', () => {
    for (const piece of pieces)
        place(piece, piece.home.x, piece.home.y);
    pick(null);
    changed();
});
begin(cut);
on('answer', () => {
    if (!state.answer) {
        fill();
        show(null);
    } else if (pieces.at(-1).home.x + pieces.at(-1).home.width !== $('seen').width) {
        begin(cut); /* another model's picture has another size */
    } else {
        fill();
        changed();
    }
});
