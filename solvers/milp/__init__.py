"""Mixed-integer programs as plain arrays, and what solves them: PuLP, and HiGHS by MathOpt."""
