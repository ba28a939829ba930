/*
 * number.js - several digits side by side: a picture that is no digit the network knows
 * is cut into its digits, and where there are several their number is the answer.
 */
import { call, latest } from './client.js';
import { $, settled } from './dom.js';
import { SETTLE_MS, on, state } from './state.js';

const ask = latest(
    async (body) => ({ body, prediction: (await call('classify?split=1', body)).predictions[0] }),
    ({ body, prediction: { text, digits } }) => {
        if (body !== state.body || digits.length < 2)
            return;
        const areKnown = digits.every((digit) => digit.in_distribution);
        $('digit').textContent = text;
        $('digit').classList.add('many');
        $('sentence').textContent = `Side by side it reads ${text}.`;
        $('known').textContent = areKnown ? 'Each looks like a digit it knows.' : 'Not all of them look like digits it knows.';
        $('known').className = areKnown ? 'good' : 'bad';
        $('summary').textContent = `${$('sentence').textContent} ${$('known').textContent}`;
    },
);

const startAsking = settled(SETTLE_MS, () => state.answer?.in_distribution === false && ask(state.body));

on('answer', () => {
    $('digit').classList.remove('many');
    startAsking();
});
