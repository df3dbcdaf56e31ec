"""What the embedded model must say of itself; here, so that it can be told without loading it."""

NOTICE = (
    "The embedded model has seen nothing but rendered scenes of coloured shapes and signs. "
    "Its answers about any other picture are not meaningful. Its router was trained on a "
    "narrow mix of questions (existence, colour, shape, a little counting): that mix is the "
    "only cause of its weak routing elsewhere."
)
