/*
 * pad.js - the drawing pad: strokes by mouse, pen or finger, undo, and the PNG
 * that is sent.
 *
 * What the pad holds is a picture: { strokes, image, png, fresh }.  A stroke is
 * { width, pen, points: [x, y, ...] } in parts of the pad, so that it survives a
 * change of size; pen is an index, none means 0.  image is an ImageBitmap that was loaded, png the Blob to
 * send for it.  The first stroke on a fresh picture (a sample, an image)
 * starts a new one.
 */

const SENT_SIZE = 280;    /* pixels of the square that is sent */
const MAX_IMAGE = 2000;   /* a larger photo is scaled down to this */
const MAX_PNG_BYTES = 4 << 20;
const MAX_PNG_SIDE = 4096; /* the server's default limit */
const MAX_UNDO = 200;

const BLANK = { strokes: [], image: null, png: null, fresh: true };

/* A smooth line: curves between the middles of the segments. */
function trace(g, points, size) {
    const n = points.length;
    g.beginPath();
    g.moveTo(points[0] * size, points[1] * size);
    for (let i = 2; i < n - 2; i += 2)
        g.quadraticCurveTo(points[i] * size, points[i + 1] * size,
            ((points[i] + points[i + 2]) / 2) * size, ((points[i + 1] + points[i + 3]) / 2) * size);
    g.lineTo(points[n - 2] * size, points[n - 1] * size);
    g.stroke();
}

/* colours has one for each pen; a stroke without a pen has the first. */
export function drawStrokes(g, strokes, size, ...colours) {
    g.lineCap = g.lineJoin = 'round';
    for (const stroke of strokes) {
        g.strokeStyle = colours[stroke.pen ?? 0];
        g.lineWidth = stroke.width * size;
        trace(g, stroke.points, size);
    }
}

/* A sample's strokes, in the pad's form. */
export function sampleStrokes(sample, width) {
    return sample.strokes.map((points) => ({ width, points: points.map((v) => v / 100) }));
}

function blobOf(canvas) {
    return new Promise((resolve, reject) =>
        canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Error('no PNG'))), 'image/png'));
}

/* A file to { image, png }: a PNG is sent as it is, anything else that the
 * browser can show is drawn on white and becomes one.  Throws when it cannot. */
export async function readImage(file) {
    const image = await createImageBitmap(file);
    const side = Math.max(image.width, image.height);
    if (file.type === 'image/png' && file.size <= MAX_PNG_BYTES && side <= MAX_PNG_SIDE)
        return { image, png: file };
    const scale = Math.min(1, MAX_IMAGE / side);
    const canvas = document.createElement('canvas');
    canvas.width = Math.max(1, Math.round(image.width * scale));
    canvas.height = Math.max(1, Math.round(image.height * scale));
    const g = canvas.getContext('2d');
    g.fillStyle = '#fff';
    g.fillRect(0, 0, canvas.width, canvas.height);
    g.imageSmoothingQuality = 'high';
    g.drawImage(image, 0, 0, canvas.width, canvas.height);
    return { image, png: await blobOf(canvas) };
}

export class Pad {
    #canvas;
    #changed;
    #picture = BLANK;
    #history = [];
    #pointer = null;
    #sent = Object.assign(document.createElement('canvas'), { width: SENT_SIZE, height: SENT_SIZE });
    #pens;
    penWidth = 0.075;
    pen = 0;

    /* changed(finished): the picture has changed; false while a stroke is being drawn.
     * pens are the properties of the canvas's style that hold their colours. */
    constructor(canvas, changed, pens = ['color']) {
        this.#canvas = canvas;
        this.#changed = changed;
        this.#pens = pens;
        canvas.addEventListener('pointerdown', (e) => this.#begin(e));
        canvas.addEventListener('pointermove', (e) => this.#move(e));
        canvas.addEventListener('pointerup', (e) => this.#end(e));
        canvas.addEventListener('pointercancel', (e) => this.#end(e));
        new ResizeObserver(() => this.#draw()).observe(canvas);
        matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => this.#draw());
    }

    get isEmpty() {
        return !this.#picture.image && this.#picture.strokes.length === 0;
    }

    get strokes() {
        return this.#picture.strokes;
    }

    get canUndo() {
        return this.#history.length > 0;
    }

    undo() {
        if (this.canUndo && this.#pointer === null)
            this.#show(this.#history.pop());
    }

    clear() {
        if (!this.isEmpty)
            this.#replace(BLANK);
    }

    /* A fresh picture is what the next stroke does not add to. */
    setStrokes(strokes, fresh = true) {
        this.#replace({ ...BLANK, strokes, fresh });
    }

    setImage({ image, png }) {
        this.#replace({ ...BLANK, image, png });
    }

    /* The request body: a PNG's Blob, or JSON with one picture, light on dark.
     * toDataURL, not toBlob, which waits for the browser to be idle. */
    encode() {
        if (this.#picture.png)
            return this.#picture.png;
        const g = this.#sent.getContext('2d', { willReadFrequently: true });
        g.fillStyle = '#000';
        g.fillRect(0, 0, SENT_SIZE, SENT_SIZE);
        drawStrokes(g, this.#picture.strokes, SENT_SIZE, ...this.#pens.map(() => '#fff'));
        return imagesJson([this.#sent]);
    }

    #replace(picture) {
        this.#history.push(this.#picture);
        if (this.#history.length > MAX_UNDO)
            this.#history.shift();
        this.#show(picture);
    }

    #show(picture) {
        this.#picture = picture;
        this.#draw();
        this.#changed(true);
    }

    #position(event) {
        const box = this.#canvas.getBoundingClientRect();
        return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
    }

    #begin(event) {
        if (this.#pointer !== null || event.button !== 0)
            return;
        event.preventDefault();
        this.#canvas.setPointerCapture(event.pointerId);
        this.#pointer = event.pointerId;
        const stroke = { width: this.penWidth, pen: this.pen, points: [...this.#position(event)] };
        stroke.points.push(...stroke.points); /* a tap is a dot */
        const strokes = this.#picture.fresh ? [stroke] : [...this.#picture.strokes, stroke];
        this.#history.push(this.#picture);
        this.#picture = { ...BLANK, strokes, fresh: false };
        this.#draw();
        this.#changed(false);
    }

    #move(event) {
        if (event.pointerId !== this.#pointer)
            return;
        const { points } = this.#picture.strokes.at(-1);
        const events = event.getCoalescedEvents?.() ?? [];
        for (const e of events.length ? events : [event])
            points.push(...this.#position(e));
        this.#draw();
        this.#changed(false);
    }

    #end(event) {
        if (event.pointerId !== this.#pointer)
            return;
        this.#pointer = null;
        this.#changed(true);
    }

    #draw() {
        const canvas = this.#canvas;
        const size = Math.max(1, Math.round(canvas.clientWidth * devicePixelRatio));
        if (canvas.width !== size)
            canvas.width = canvas.height = size;
        const g = canvas.getContext('2d');
        g.clearRect(0, 0, size, size);
        const { image, strokes } = this.#picture;
        if (image) {
            /* Gray, so that transparent ink of either kind shows. */
            g.fillStyle = '#888';
            g.fillRect(0, 0, size, size);
            const scale = size / Math.max(image.width, image.height);
            const w = image.width * scale;
            const h = image.height * scale;
            g.imageSmoothingEnabled = scale < 3;
            g.drawImage(image, (size - w) / 2, (size - h) / 2, w, h);
        }
        const style = getComputedStyle(canvas);
        drawStrokes(g, strokes, size, ...this.#pens.map((name) => style.getPropertyValue(name)));
    }
}

/* The JSON body that sends canvases as PNGs. */
export function imagesJson(canvases) {
    return JSON.stringify({
        images: canvases.map((canvas) => canvas.toDataURL('image/png').split(',')[1]),
    });
}
