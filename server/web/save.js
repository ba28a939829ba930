/*
 * save.js - a panel as a PNG: its texts, pictures, plots and sliders are drawn anew on
 * a canvas where they stand on the page.  What is there to be pressed is left out.
 */

const SCALE = 2;
const LEFT_OUT = 'button, .button, .pen, #pens, #parts-keys, select, .unseen, [hidden], input:not([type=range])';
const SVG_STYLES = ['fill', 'stroke', 'stroke-width', 'stroke-dasharray', 'stroke-linejoin', 'font-size',
    'font-family', 'font-weight'];

function rounded(g, box, style, how) {
    g.beginPath();
    g.roundRect(box.x, box.y, box.width, box.height, Math.min(parseFloat(style.borderTopLeftRadius) || 0, box.height / 2));
    g[how]();
}

function drawBox(g, box, style) {
    if (style.backgroundColor.match(/[\d.]+/g)[3] !== '0') {
        g.fillStyle = style.backgroundColor;
        rounded(g, box, style, 'fill');
    }
    if (parseFloat(style.borderTopWidth) && parseFloat(style.borderLeftWidth)) {
        g.strokeStyle = style.borderTopColor;
        g.lineWidth = 1;
        rounded(g, box, style, 'stroke');
    }
}

function drawCanvas(g, node, box, style) {
    g.save();
    rounded(g, box, style, 'clip');
    g.globalCompositeOperation = style.mixBlendMode === 'normal' ? 'source-over' : style.mixBlendMode;
    g.imageSmoothingEnabled = style.imageRendering !== 'pixelated';
    g.drawImage(node, box.x, box.y, box.width, box.height);
    g.restore();
    if (style.outlineStyle === 'dashed') {
        g.setLineDash([4, 4]);
        g.lineWidth = 1;
        g.strokeStyle = style.outlineColor;
        g.strokeRect(box.x, box.y, box.width, box.height);
        g.setLineDash([]);
    }
}

function drawRange(g, input, box, style) {
    const [low, high] = [Number(input.min), Number(input.max)];
    const at = box.x + 8 + ((input.value - low) / (high - low)) * (box.width - 16);
    const y = box.y + box.height / 2;
    g.lineWidth = 4;
    g.lineCap = 'round';
    for (const [end, colour] of [[box.right - 8, style.getPropertyValue('--line')], [at, style.accentColor]]) {
        g.strokeStyle = colour;
        g.beginPath();
        g.moveTo(box.x + 8, y);
        g.lineTo(end, y);
        g.stroke();
    }
    g.fillStyle = style.accentColor;
    g.beginPath();
    g.arc(at, y, 7, 0, 7);
    g.fill();
}

/* Word by word, since lines break where the page breaks them. */
function drawText(g, node, style) {
    g.font = `${style.fontStyle} ${style.fontWeight} ${style.fontSize} ${style.fontFamily}`;
    g.letterSpacing = style.letterSpacing === 'normal' ? '0px' : style.letterSpacing;
    g.fillStyle = style.color;
    const range = document.createRange();
    for (const { 0: word, index } of node.data.matchAll(/\S+/g)) {
        range.setStart(node, index);
        range.setEnd(node, index + word.length);
        const box = range.getBoundingClientRect();
        const { fontBoundingBoxAscent: up, fontBoundingBoxDescent: down } = g.measureText(word);
        g.fillText(word, box.x, box.y + (box.height - up - down) / 2 + up);
    }
}

/* An SVG as an image, which knows nothing of the page's style sheet. */
async function imageOf(svg) {
    const copy = svg.cloneNode(true);
    const from = [svg, ...svg.querySelectorAll('*')];
    [copy, ...copy.querySelectorAll('*')].forEach((node, i) => {
        const style = getComputedStyle(from[i]);
        for (const name of SVG_STYLES)
            node.setAttribute(name, style.getPropertyValue(name));
    });
    const { width, height } = svg.getBoundingClientRect();
    copy.setAttribute('xmlns', 'http://www.w3.org/2000/svg');
    copy.setAttribute('width', width * SCALE);
    copy.setAttribute('height', height * SCALE);
    copy.setAttribute('viewBox', svg.getAttribute('viewBox') ?? `0 0 ${width} ${height}`);
    const image = new Image();
    image.src = `data:image/svg+xml,${encodeURIComponent(new XMLSerializer().serializeToString(copy))}`;
    await image.decode();
    return image;
}

function draw(g, node, images) {
    if (node.nodeType === Node.TEXT_NODE)
        return drawText(g, node, getComputedStyle(node.parentElement));
    if (node.nodeType !== Node.ELEMENT_NODE || node.matches(LEFT_OUT))
        return;
    const style = getComputedStyle(node);
    const box = node.getBoundingClientRect();
    if (style.display === 'none' || style.visibility === 'hidden')
        return;
    if (!(node instanceof HTMLInputElement))
        drawBox(g, box, style);
    if (images.has(node))
        g.drawImage(images.get(node), box.x, box.y, box.width, box.height);
    else if (node instanceof HTMLCanvasElement)
        drawCanvas(g, node, box, style);
    else if (node instanceof HTMLInputElement)
        drawRange(g, node, box, style);
    else
        for (const child of node.childNodes)
            draw(g, child, images);
}

/* Offers the panel, an element, as NAME.png. */
export async function savePanel(panel, name) {
    const images = new Map();
    for (const svg of panel.querySelectorAll('svg'))
        if (svg.getBoundingClientRect().width && svg.childElementCount)
            images.set(svg, await imageOf(svg));
    const box = panel.getBoundingClientRect();
    const margin = 24;
    const canvas = Object.assign(document.createElement('canvas'),
        { width: (box.width + 2 * margin) * SCALE, height: (box.height + 2 * margin) * SCALE });
    const g = canvas.getContext('2d');
    g.fillStyle = getComputedStyle(document.body).backgroundColor;
    g.fillRect(0, 0, canvas.width, canvas.height);
    g.scale(SCALE, SCALE);
    g.translate(margin - box.x, margin - box.y);
    draw(g, panel, images);
    const blob = await new Promise((done) => canvas.toBlob(done, 'image/png'));
    const link = Object.assign(document.createElement('a'), { href: URL.createObjectURL(blob), download: `${name}.png` });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}
