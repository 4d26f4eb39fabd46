def test_x(server):
    print(server.get("/v1/models"))
    r = server.post("/v1/completions/with_activations", prompt="hello", max_tokens=3, activation_hooks=[{"layer_name":"*","component":"residual"}])
    print(r["activations"].keys())
    print(server.post("/v1/forward", prompt="hello", activation_hooks=[{"layer_name":"*","component":"attention_scores"}], activation_format="array")["activations"]["layer_0_attention_scores"][0]["data"][0][0])
