"""Tables from runs: DataFrame in, DataFrame out; a module for each question asked of them."""
