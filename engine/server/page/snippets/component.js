/** What makes the picture of a component's norms, or captures a component that has none. */

import {
  curl, pairs, python, pythonCall, pythonProgram, smalltalk, smalltalkProgram, symbol,
} from './languages.js';

/** `axes` are those that a norm is over, beside batch and position; null: there is no norm. */
export function componentCode(request, axes) {
  return {
    curl: curl(request),
    python: axes ? pythonNorms(request, axes) : pythonShapes(request),
    smalltalk: request.body.activation_hooks[0].layer_name === '*'
      ? smalltalkLayers(request, axes) : smalltalkWhole(request),
  };
}

function pythonNorms({ body }, axes) {
  return pythonProgram(['import numpy as np', 'from bridge.wire import from_record'], [
    `result = ${pythonCall('forward', body)}`,
  ], [
    'for (record,) in result["activations"].values():',
    `    norms = np.linalg.norm(from_record(record, {})[0], axis=${axes.length > 1 ? `(${axes.join(', ')})` : axes[0]})`,
    '    print(record["layer"], norms.tolist())',
  ]);
}

function pythonShapes({ body }) {
  return pythonProgram([], [`result = ${pythonCall('forward', body)}`], [
    'for (record,) in result["activations"].values():',
    '    print(record["layer"], record["field_name"], record["shape"])',
  ]);
}

function smalltalkLayers({ body }, axes) {
  const [{ component }] = body.activation_hooks;
  const name = symbol(component);
  const norm = axes?.length > 1 ? `((each norm: -1) norm: ${axes[0] + 1})` : '(each norm: -1)';
  return smalltalkProgram(body.model, ['output', 'layers'], [
    `output := model capture: ${smalltalk(body.prompt)} layers: #all components: #(${name})`,
    `layers := (model layersWith: ${name}) collect: [:layer | output at: layer at: ${name}]`,
    axes
      ? `NeuroScopeHeatmap of: (ActivationTensor\n\tdata: (layers collect: [:each | ${norm} data asArray])\n\tshape: {layers size. output texts size})`
      : 'layers collect: [:each | each shape]',
  ]);
}

/** Of a component that the model has once. */
function smalltalkWhole({ body }) {
  const { model, prompt, activation_hooks: hooks, ...options } = body;
  return smalltalkProgram(model, ['reply', 'activations'], [
    `reply := client\n\tforward: ${smalltalk(prompt)}\n\thooks: ${smalltalk(hooks)}\n\toptions: ${pairs({ model, ...options })}`,
    "activations := client convertActivationsForNeuroScope: (reply at: 'activations')",
    'activations values first first norm: -1',
  ]);
}
