"""Running containers with conmon and an OCI runtime (implements `cortend.core.runtime`).

tasks.Tasks is what others use; everything else here is its parts:

    tasks ── oci (crun, runc)  conmon (one monitor per process)  attach (streams)  watch (exits)
          └─ bundle (directories, mounts)  cgroups (processes, figures)  state (what a restart must know)
    process: the one way to start a program     facts: what the host and the daemon can do
"""
