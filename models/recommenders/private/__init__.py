"""Item-to-item weights from sums of bounded parts of users, to which noise can be added."""
