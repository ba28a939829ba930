/* turn.js - the panel "Turn the pose": sixteen sliders, their picture, the sweep. */
import { $, make, settled, signed, wipe } from './dom.js';
import { SETTLE_MS, capsule, drawer, on, state } from './state.js';

const POSE_RANGE = 0.7; /* of the sliders; a pose is shorter than 1 in all */

const sliders = [];
let pose = []; /* as turned */

const poseBody = () => JSON.stringify({ class: capsule(), pose });

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
            turn(poseBody());
            costly();
        });
    }
}

function showSliders() {
    const { answer, labels } = state;
    sliders.forEach(({ input, value }, i) => {
        input.disabled = !answer;
        if (answer && Math.abs(Number(input.value) - pose[i]) > 0.005)
            input.value = pose[i];
        value.textContent = answer ? signed(pose[i], 2) : '';
    });
    $('reset').disabled = !answer;
    $('turned-caption').textContent = answer ? `Capsule ${labels[capsule()]}` : '\u00a0';
}

const turn = drawer('reconstruct', 'turned');
const sweep = drawer('reconstruct?sweep=1', 'sweep');
const costly = settled(SETTLE_MS, () => state.answer && sweep(poseBody()));

/* Puts the pose that the network saw on the sliders. */
function showPose() {
    if (!state.answer) {
        wipe($('turned'), $('sweep'));
        return showSliders();
    }
    pose = [...state.answer.pose[capsule()]];
    showSliders();
    turn(poseBody());
    costly();
}

makeSliders(state.model.shape.pose_dims);
$('reset').addEventListener('click', showPose);
on('capsule', showPose);
