"""The Hugging Face Hub: addresses, bounded calls of its client, and files that are checked.

`huggingface_hub` transfers and caches; it does not compare contents, check revisions or
bound the time it takes, so these three are here.
"""
