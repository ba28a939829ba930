/*
 * link.js - a link that brings back what is drawn.  The strokes stand in the
 * address's fragment, which browsers keep to themselves: #draw=... of the first pad
 * and &pair=... of the one for two digits.
 *
 * A pad's text is base64url of bytes: the version, then for each stroke its pen, its
 * width in thousandths, the number of its points in two bytes, and two bytes a point:
 * x and y in 200ths of the pad, from an eighth beside it.
 */

const VERSION = 1;
const STEP = 200;
const BESIDE = 25;

const clamp = (v, high) => Math.min(high, Math.max(0, Math.round(v)));
const toByte = (v) => clamp(v * STEP + BESIDE, 255);

/* The points as bytes, without those that fall on the one before; but a point that
 * was given twice is a corner and stays. */
function pointBytes(points) {
    const bytes = [];
    for (let i = 0; i < points.length; i += 2) {
        const [x, y] = [toByte(points[i]), toByte(points[i + 1])];
        const given = i > 0 && points[i] === points[i - 2] && points[i + 1] === points[i - 1];
        if (given || x !== bytes.at(-2) || y !== bytes.at(-1))
            bytes.push(x, y);
    }
    return bytes.length > 2 ? bytes : [...bytes, ...bytes];
}

export function encodeStrokes(strokes) {
    const bytes = [VERSION];
    for (const { width, pen = 0, points } of strokes) {
        const at = pointBytes(points).slice(0, 2 * 65535);
        bytes.push(pen, clamp(width * 1000, 255), at.length >> 9, (at.length >> 1) & 255);
        for (const byte of at)
            bytes.push(byte);
    }
    return btoa(bytes.map((byte) => String.fromCharCode(byte)).join(''))
        .replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
}

/* The strokes, for pens of an index below `pens`; null when the text holds none. */
export function decodeStrokes(text, pens) {
    let bytes;
    try {
        bytes = Uint8Array.from(atob(text.replaceAll('-', '+').replaceAll('_', '/')), (c) => c.charCodeAt(0));
    } catch {
        return null;
    }
    const strokes = [];
    let at = 1;
    while (bytes[0] === VERSION && at < bytes.length) {
        const [pen, width, high, low] = bytes.subarray(at, at + 4);
        const end = at + 4 + 2 * (high * 256 + low);
        if (!(end <= bytes.length) || !width || end < at + 8 || pen >= pens)
            return null;
        strokes.push({ pen, width: width / 1000,
            points: Array.from(bytes.subarray(at + 4, end), (byte) => (byte - BESIDE) / STEP) });
        at = end;
    }
    return strokes.length ? strokes : null;
}

/* ---- The pads of the page ---------------------------------------------------- */

const pads = {}; /* name to { pad, pens, taken } */
const fragment = () => new URLSearchParams(location.hash.slice(1));

/* The strokes that the address holds for a pad.  null: it holds some that cannot be
 * read; undefined: none. */
function given(name) {
    const text = fragment().get(name);
    return text === null ? undefined : decodeStrokes(text, pads[name].pens);
}

/* Makes the pad part of the links.  taken(strokes or null) is called now, if the
 * address holds something for it, and whenever another link is followed. */
export function linkPad(name, pad, pens, taken) {
    pads[name] = { pad, pens, taken };
    const strokes = given(name);
    if (strokes !== undefined)
        taken(strokes);
    return strokes !== undefined;
}

addEventListener('hashchange', () => {
    for (const name in pads) {
        const strokes = given(name);
        if (strokes !== undefined)
            pads[name].taken(strokes);
    }
});

/* The address no longer tells what is drawn, once that has changed. */
export function unlink(name) {
    const text = fragment().get(name);
    if (text !== null && name in pads && text !== encodeStrokes(pads[name].pad.strokes))
        history.replaceState(null, '', location.pathname + location.search);
}

/* Puts what is drawn into the address and the address on the clipboard; the promise
 * is of a sentence that says so. */
export async function copyLink() {
    const parts = [];
    for (const name in pads)
        if (pads[name].pad.strokes.length)
            parts.push(`${name}=${encodeStrokes(pads[name].pad.strokes)}`);
    history.replaceState(null, '', `#${parts.join('&')}`);
    try {
        await navigator.clipboard.writeText(location.href);
        return 'The link is copied.';
    } catch {
        return 'It is in the address bar.'; /* a browser lets only https and localhost copy */
    }
}
