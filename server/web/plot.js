/* plot.js - line plots of many series against one variable, and columns, as SVG. */

const LEFT = 34;
const RIGHT = 62;   /* room for the labels at the lines' ends */
const TOP = 8;
const BOTTOM = 24;
const LABEL_GAP = 15;

function add(parent, name, attributes, text) {
    const node = document.createElementNS('http://www.w3.org/2000/svg', name);
    for (const key in attributes)
        node.setAttribute(key, attributes[key]);
    if (text !== undefined)
        node.textContent = text;
    return parent.appendChild(node);
}

/* Heights for labels, in their order from the top, that do not overlap. */
function spread(labels, lowest) {
    labels.sort((a, b) => a.y - b.y);
    for (let i = 1; i < labels.length; i++)
        labels[i].y = Math.max(labels[i].y, labels[i - 1].y + LABEL_GAP);
    for (let i = labels.length - 1, limit = lowest; i >= 0; i--, limit -= LABEL_GAP)
        labels[i].y = Math.min(labels[i].y, limit);
}

/*
 * Draws into an <svg>, at its size on the page.
 *
 * series   [{ values: [one per x], label, rank }]: a rank of 0 .. 3 is drawn in
 *          that colour and labelled, no rank faintly
 * xs       ascending numbers
 * low, high   of the vertical axis; ticks lie at ticks
 * at       the x that is marked
 * format   x to text
 */
export function plot(svg, { series, xs, low, high, ticks, at, format }) {
    const width = svg.clientWidth;
    const height = svg.clientHeight;
    if (!width || !height)
        return;
    svg.replaceChildren();
    svg.setAttribute('viewBox', `0 0 ${width} ${height}`);
    const last = xs.at(-1);
    const x = (v) => LEFT + ((v - xs[0]) / (last - xs[0])) * (width - LEFT - RIGHT);
    const y = (v) => TOP + ((high - v) / (high - low)) * (height - TOP - BOTTOM);

    for (const tick of ticks) {
        add(svg, 'line', { class: 'grid', x1: LEFT, x2: width - RIGHT, y1: y(tick), y2: y(tick) });
        add(svg, 'text', { class: 'tick', x: LEFT - 6, y: y(tick) + 4, 'text-anchor': 'end' }, tick);
    }
    for (const v of [xs[0], (xs[0] + last) / 2, last])
        add(svg, 'text', { class: 'tick', x: x(v), y: height - 6, 'text-anchor': 'middle' }, format(v));
    add(svg, 'line', { class: 'marker', x1: x(at), x2: x(at), y1: TOP, y2: height - BOTTOM });

    const labels = [];
    /* Faint ones first, so that they lie beneath. */
    for (const s of [...series].sort((a, b) => (b.rank ?? 99) - (a.rank ?? 99))) {
        const points = s.values.map((v, i) => `${x(xs[i]).toFixed(1)},${y(v).toFixed(1)}`).join(' ');
        const ranked = s.rank !== undefined;
        add(svg, 'polyline', { class: ranked ? `line rank${s.rank}` : 'line', points });
        if (ranked)
            labels.push({ y: y(s.values.at(-1)) + 4, text: s.label, rank: s.rank });
    }
    spread(labels, height - BOTTOM);
    for (const label of labels)
        add(svg, 'text', { class: `label rank${label.rank}`, x: width - RIGHT + 6, y: label.y }, label.text);
}

const FOOT = 16; /* room for the labels beneath the columns */

/*
 * Columns in an <svg>, at its size on the page, of a height of 0 to 1.
 *
 * values, labels   one a column
 * ranks            its colour and whether its value is written: as of a series; -1: none
 */
export function bars(svg, { values, labels, ranks }) {
    const width = svg.clientWidth;
    const height = svg.clientHeight;
    if (!width || !height)
        return;
    svg.replaceChildren();
    svg.setAttribute('viewBox', `0 0 ${width} ${height}`);
    const step = width / values.length;
    const y = (v) => TOP + LABEL_GAP + (1 - v) * (height - TOP - LABEL_GAP - FOOT);
    add(svg, 'line', { class: 'grid', x1: 0, x2: width, y1: y(0), y2: y(0) });
    values.forEach((value, i) => {
        const x = i * step;
        const rank = ranks[i] >= 0 ? ` rank${ranks[i]}` : '';
        add(svg, 'rect', { class: `column${rank}`, x: x + step * 0.15, width: step * 0.7, y: y(value), height: y(0) - y(value) });
        add(svg, 'text', { class: `label${rank}`, x: x + step / 2, y: height - 3, 'text-anchor': 'middle' }, labels[i]);
        if (!rank)
            return;
        /* Values side by side would touch. */
        const [anchor, aside] = ranks[i + 1] >= 0 ? ['end', 0.95] : ranks[i - 1] >= 0 ? ['start', 0.05] : ['middle', 0.5];
        add(svg, 'text', { class: `label${rank}`, x: x + step * aside, y: y(value) - 4, 'text-anchor': anchor }, value.toFixed(2));
    });
}
