"""From a grid to stored results.

1. `choices` finds methods and tasks and reads their identities; a `survey` of a model, made in a worker, gives its identity and
   the hashes of its pairs; `plan` turns the grid into cells with keys, and lists what cannot be run and why.
2. An executor (`local`: one worker process per device; `serial`: in this process) runs the jobs of those cells whose key
   has no result yet. Parent and worker exchange JSON over a pipe (`process`, `worker`); arrays travel as safetensors
   files in the results folder (`outcome`).
3. In the worker a `workbench` keeps the model and the pairs, and `cell` runs one cell: correctly answered pairs
   (`pairs`), `localize` on the discovery pairs, circuits of every size on the test pairs (`scoring`), agreement with the
   proven circuit of a toy (`truth`), which no method has seen.
4. The parent, the only writer, stores each outcome in one transaction (`recorder`).

A method that raises, hangs, floods its output, changes the model or ends its process costs its own cell and nothing else.
"""
