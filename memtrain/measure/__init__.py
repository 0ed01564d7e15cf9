"""One cell, one fresh process, one meter: the run watched from outside."""
