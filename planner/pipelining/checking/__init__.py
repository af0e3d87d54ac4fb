"""Whether a schedule is legal, judged by rules that know neither solvers nor simulator."""
