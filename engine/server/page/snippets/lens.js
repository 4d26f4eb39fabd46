/** What makes the table of the logit lens. */

import { curl, pythonCall, pythonProgram, smalltalk, smalltalkProgram } from './languages.js';

export function lensCode(request) {
  const { model, prompt, top_k: count } = request.body;
  return {
    curl: curl(request),
    python: pythonProgram([], [`lens = ${pythonCall('logit_lens', request.body)}`], [
      'for layer in lens["layers"]:',
      '    print(layer["layer"], [(top[0]["text"], top[0]["probability"]) for top in layer["top"]])',
    ]),
    smalltalk: smalltalkProgram(model, ['lens'], [
      `lens := model logitLens: ${smalltalk(prompt)} topK: ${count}`,
      'lens report',
    ]),
  };
}
