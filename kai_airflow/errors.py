"""The root of every error that kai-airflow raises on purpose.

KaiAirflowError
├── krt.KrtError               a krt.yaml that breaks a rule
├── messaging.MessagingError   NATS, its streams, a message
├── kube.KubeError             a pod, its Secret
└── local.StackError           the stack of one machine
"""


class KaiAirflowError(Exception):
    """An error with a message that says where, what, and what to do about it."""
