/** The texts of tokens and numbers, as they are shown. */

const SIGNS = { ' ': '·', '\n': '⏎', '\t': '⇥', '\r': '␍' };

/** The exact text of a token, its white space seen. */
export const visible = (text) => text.replace(/[ \n\t\r]/g, (sign) => SIGNS[sign]);

export const percent = (share) => `${(100 * share).toFixed(1)} %`;

export const signed = (number, digits = 2) => `${number < 0 ? '−' : '+'}${Math.abs(number).toFixed(digits)}`;

/** A norm: four figures, or as many as it has before the point. */
export const short = (number) => (number < 1000 ? number.toPrecision(4) : number.toFixed(0));
