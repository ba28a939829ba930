/* dom.js - the small things that every panel does with the page. */

export const $ = (id) => document.getElementById(id);

export const signed = (v, digits) => `${v < 0 ? '\u2212' : v > 0 ? '+' : ''}${Math.abs(v).toFixed(digits)}`;

export function make(parent, name, properties = {}) {
    return parent.appendChild(Object.assign(document.createElement(name), properties));
}

/* A canvas that is not on the page. */
export function newCanvas(width, height) {
    return Object.assign(document.createElement('canvas'), { width, height });
}

/* Calls fn once ms have passed without another call. */
export function settled(ms, fn) {
    let timer;
    return () => {
        clearTimeout(timer);
        timer = setTimeout(fn, ms);
    };
}

/* A bitmap or canvas on a canvas, which takes its size. */
export function paint(canvas, bitmap) {
    if (canvas.width !== bitmap.width || canvas.height !== bitmap.height)
        Object.assign(canvas, { width: bitmap.width, height: bitmap.height });
    canvas.getContext('2d').drawImage(bitmap, 0, 0);
}

export function wipe(...canvases) {
    for (const canvas of canvases)
        canvas.getContext('2d').clearRect(0, 0, canvas.width, canvas.height);
}

/* A choice of one among a few, side by side; `choices` have a name each. */
export function makeKinds(fieldset, name, choices, chosen, changed) {
    for (const choice of choices) {
        const label = make(fieldset, 'label');
        const radio = make(label, 'input', { type: 'radio', name, className: 'unseen', checked: choice === chosen });
        make(label, 'span', { textContent: choice.name });
        radio.addEventListener('change', () => changed(choice));
    }
}

/* A row that shows a capsule's length, 0 to 1: an element `tag` of class `bar`. */
export function makeBar(parent, tag, label) {
    const row = make(parent, tag, { className: 'bar' });
    make(row, 'span', { className: 'name', textContent: label });
    const track = make(row, 'span', { className: 'track' });
    return { row, track, fill: make(track, 'span', { className: 'fill' }), value: make(row, 'span', { className: 'value' }) };
}

/* length: undefined shows none. */
export function showBar({ row, fill, value }, length, isLong) {
    fill.style.width = `${(length ?? 0) * 100}%`;
    value.textContent = length?.toFixed(2) ?? '';
    row.classList.toggle('long', isLong);
}
