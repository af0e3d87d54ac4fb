"""Pipeline parallelism: what a schedule costs, when its passes run, whether it is legal."""
