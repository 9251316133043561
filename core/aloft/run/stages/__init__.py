"""One file a stage; `aloft.run.graph` finds them."""
