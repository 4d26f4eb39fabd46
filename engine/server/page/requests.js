/** The requests that the pictures are made of: all that the page asks of a model. */

import { post } from './api.js';

export const WHOLE_MODEL = ['embedding', 'final_norm', 'logits'];

/** A prompt's tokens, and the likeliest next ones. */
export const tokensOf = (model, prompt) => post('/v1/forward', {
  model, prompt, logits: 'none', top_k: 5,
});

/** A component wherever the model has it. */
export const componentOf = (model, prompt, component) => post('/v1/forward', {
  model, prompt, logits: 'none', top_k: 0, activation_hooks: [hookOf(component)],
});

export const hookOf = (component) => ({
  layer_name: WHOLE_MODEL.includes(component) ? component : '*', component,
});

/** The attention patterns of all heads of a layer. */
export const attentionOf = (model, prompt, layer) => post('/v1/forward', {
  model, prompt, logits: 'none', top_k: 0,
  activation_hooks: [{ layer_name: String(layer), component: 'attention_pattern' }],
});

export const lensOf = (model, prompt) => post('/v1/logit_lens', { model, prompt, top_k: 5 });

/** A text as it is generated, with a component and a layer's attention of each of its passes. */
export const generationOf = (model, prompt, options, component, layer) => post(
  '/v1/completions/with_activations', {
    model, prompt, ...options, logprobs: 0, stream: true,
    activation_hooks: [
      hookOf(component),
      ...(layer === null ? [] : [{ layer_name: String(layer), component: 'attention_pattern' }]),
    ],
  });

/** A greedy continuation with changes, and without. */
export const steeredOf = (model, prompt, maxTokens, interventions) => post(
  '/v1/completions/with_activations', {
    model, prompt, max_tokens: maxTokens, activation_hooks: [], interventions,
  });

/** The residual stream of a layer behind a text's last token. */
export const lastResidualOf = (model, prompt, layer) => post('/v1/forward', {
  model, prompt, logits: 'none', top_k: 0,
  activation_hooks: [{ layer_name: String(layer), component: 'residual', positions: [-1] }],
});

/** How much each head matters to an answer. */
export const sweepOf = (model, task, method) => post('/v1/circuits/patch', {
  model, ...task, component: 'head_output', method, stream: true,
});

/** Whether some heads alone do what all do, the others at their mean over the corrupted prompt. */
export const verificationOf = (model, task, heads) => post('/v1/circuits/verify', {
  model, ...task, stream: true, subsets: 0,
  circuit: heads.map(({ layer, head }) => ({ layer, head, component: 'head_output' })),
});
