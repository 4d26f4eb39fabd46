/** What makes the tokens of a prompt, and what generates a text. */

import { curl, pairs, pythonCall, pythonProgram, smalltalk, smalltalkProgram } from './languages.js';

export function tokensCode(request) {
  const { model, prompt, ...options } = request.body;
  return {
    curl: curl(request),
    python: pythonProgram([], [`result = ${pythonCall('forward', request.body)}`], [
      'print(list(zip(result["tokens"][0], result["texts"][0])))',
      'print([(token["text"], token["probability"]) for token in result["top"][0]])',
    ]),
    smalltalk: smalltalkProgram(model, ['reply'], [
      `reply := client forward: ${smalltalk(prompt)} options: ${pairs({ model, ...options })}`,
      "{(reply at: 'texts') first. (reply at: 'top') first collect: [:each | (each at: 'text') -> (each at: 'probability')]}",
    ]),
  };
}

export function generationCode(request) {
  const { model, prompt, max_tokens: maxTokens, temperature } = request.body;
  return {
    curl: curl(request),
    python: pythonProgram(['from bridge.wire import from_record'], [
      `stream = ${pythonCall('stream_create_completion_with_activations', request.body)}`,
      'for chunk in stream:',
      '    print(repr(chunk["choices"][0]["text"]))',
      '    for name, (record,) in chunk["activations"].items():',
      '        print(name, record["positions"], from_record(record, {}).shape)',
    ]),
    smalltalk: smalltalkProgram(model, [], [
      `model generate: ${smalltalk(prompt)} maxTokens: ${maxTokens} temperature: ${temperature}`,
    ]),
  };
}
