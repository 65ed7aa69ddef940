"""One text turned into another sequence by an encoder-decoder model: pronunciations, normal forms.

text -> facts (symbols, limits) -> the encoder, batched by the model's own batcher -> engine: decoder steps of many
requests in one batch -> greedy or beam search (pure rules) -> tokens, as they are made
"""
