// Writes merkle.json with OpenZeppelin's own library: `node merkle.mjs` where @openzeppelin/merkle-tree 1.0.8 is
// installed.
import { createHash } from "node:crypto";
import { writeFileSync } from "node:fs";
import { StandardMerkleTree } from "@openzeppelin/merkle-tree";

const payload = (size, i) => "0x" + createHash("sha256").update(`merkle ${size} ${i}`).digest("hex");

const trees = [1, 2, 3, 4, 5, 7, 8, 13, 32, 33].map((size) => {
  const payloads = Array.from({ length: size }, (_, i) => payload(size, i));
  const tree = StandardMerkleTree.of(payloads.map((p) => [p]), ["bytes32"], { sortLeaves: false });
  return {
    payloads,
    leaves: payloads.map((p) => tree.leafHash([p])),
    root: tree.root,
    proofs: payloads.map((_, i) => tree.getProof(i)),
  };
});
writeFileSync(process.argv[2] ?? "merkle.json", JSON.stringify({ trees }, null, 1) + "\n");
