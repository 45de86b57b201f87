"""The root of every error that kai-airflow raises on purpose.

KaiAirflowError
├── krt.KrtError                            a krt.yaml that breaks a rule
├── messaging.errors.MessagingError         NATS, its streams, a message
├── process.ProcessError                    a process that can't do what it was told
├── dag.claims.DuplicateDagIdError          a DAG id that another file has
├── operators.requests.ConfError            a run's conf
├── nats.errors.ConnectionMissingError, ConnectionWrongError
├── operators.pods.KubeError                Kubernetes refuses, is out of reach, or lost the pod
├── operators.supervisor.ProcessEndedError  a process that ended, never started, or can't
├── bridge.cluster.ClusterError             the cluster refuses, or is out of reach, for the bridge
├── bundle.mirror.BundleError               a bundle whose folders can't work
└── local.errors.StackError                 the stack of one machine
"""


class KaiAirflowError(Exception):
    """An error with a message that says where, what, and what to do about it."""
