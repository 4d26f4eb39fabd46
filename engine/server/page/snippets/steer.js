/** What makes a steered text beside the plain one. */

import { curl, pairs, python, pythonProgram, smalltalk, smalltalkProgram } from './languages.js';

/** A component scaled. */
export function scaledCode(request) {
  return {
    curl: curl(request),
    python: texts([], [], request.body, python(request.body.interventions)),
    smalltalk: smalltalkTexts(request.body, [], [], smalltalk(request.body.interventions)),
  };
}

/** A direction added: from the end of one text to that of another, times a strength. */
export function directedCode(request, { from, to, layer, strength }) {
  const { model } = request.body;
  const place = { layer_name: String(layer), component: 'residual' };
  const hook = { ...place, positions: [-1] };
  const added = `[${python({ ...place, operation: 'addition' }).slice(0, -1)}, "value": value}]`;
  const end = (text) => `((model capture: ${smalltalk(text)} layers: #(${layer}) components: #(#residual))\n\tat: ${layer} at: #residual) last last`;
  return {
    curl: curl(request),
    python: texts(['from bridge.wire import from_record, to_value'], [
      'ends = []',
      `for text in ${python([from, to])}:`,
      `    seen = client.forward(text, [${python(hook)}], model=${python(model)})`,
      `    ends.append(from_record(seen["activations"]["layer_${layer}_residual"][0], {})[0, 0])`,
      `value = to_value(${strength} * (ends[1] - ends[0]))`,
    ], request.body, added),
    smalltalk: smalltalkTexts(request.body, ['start', 'end', 'value'], [
      `start := ${end(from)}`,
      `end := ${end(to)}`,
      `value := (end - start) * ${strength}`,
    ], `{LMStudioRecord withAll: {'layer_name' -> '${layer}'. 'component' -> 'residual'. 'operation' -> 'addition'. 'value' -> value asRecord}}`),
  };
}

function texts(imports, before, { model, prompt, max_tokens: maxTokens }, interventions) {
  return pythonProgram(imports, [
    ...before,
    `for interventions in ([], ${interventions}):`,
    '    result = client.create_completion_with_activations(',
    `        ${python(prompt)},`,
    '        [],',
    `        model=${python(model)},`,
    `        max_tokens=${maxTokens},`,
    '        interventions=interventions,',
    '    )',
    '    print(repr(result["choices"][0]["text"]))',
  ]);
}

function smalltalkTexts({ model, prompt, max_tokens: maxTokens }, temporaries, before, interventions) {
  return smalltalkProgram(model, [...temporaries, 'changes'], [
    ...before,
    `changes := ${interventions}`,
    `{#(). changes} collect: [:each |\n\t((client\n\t\tcompletionWithActivations: ${smalltalk(prompt)}\n\t\thooks: #()\n\t\toptions: ${pairs({ model, max_tokens: maxTokens }).slice(0, -1)}. 'interventions' -> each})\n\t\t\tat: 'choices') first at: 'text']`,
  ]);
}
