// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {Hashes} from "@openzeppelin/contracts/utils/cryptography/Hashes.sol";
import {MerkleProof} from "@openzeppelin/contracts/utils/cryptography/MerkleProof.sol";
import {stdJson} from "forge-std/StdJson.sol";
import {Test, stdError} from "forge-std/Test.sol";
import {IUsageEscrow} from "../src/interfaces/IUsageEscrow.sol";
import {Receipts} from "../src/libraries/Receipts.sol";
import {SumTree} from "../src/libraries/SumTree.sol";
import {BatchRoots} from "./BatchRoots.sol";

/// @notice Solidity agrees with proto/vectors, which other implementations wrote.
contract VectorsTest is Test {
    using stdJson for string;

    BatchRoots private batchRoots = new BatchRoots();

    function _load(string memory name) private view returns (string memory) {
        return vm.readFile(string.concat("../proto/vectors/", name, ".json"));
    }

    function _at(string memory path, uint256 i) private pure returns (string memory) {
        return string.concat(path, "[", vm.toString(i), "]");
    }

    function _count(string memory json, string memory path) private view returns (uint256 count) {
        while (vm.keyExistsJson(json, _at(path, count))) ++count;
    }

    function _checkSigned(string memory json, string memory at, address escrow, bytes32 structHash) private view {
        assertEq(block.chainid, json.readUint(".domain.chainId"));
        bytes32 digest = Receipts.digest(escrow, structHash);
        assertEq(digest, json.readBytes32(string.concat(at, ".digest")), at);
        bytes memory signature = json.readBytes(string.concat(at, ".signature"));
        assertEq(ECDSA.recover(digest, signature), json.readAddress(string.concat(at, ".signer")), at);
    }

    function test_receipts() external view {
        string memory json = _load("receipts");
        address escrow = json.readAddress(".domain.verifyingContract");
        assertEq(_count(json, ".receipts"), 6);
        for (uint256 i = 0; i < 6; ++i) {
            string memory at = _at(".receipts", i);
            _checkSigned(json, at, escrow, Receipts.hash(_receipt(json, string.concat(at, ".receipt."))));
        }
    }

    function _receipt(string memory json, string memory at) private pure returns (Receipts.Receipt memory r) {
        r.requestId = json.readString(string.concat(at, "requestId"));
        r.accountId = json.readString(string.concat(at, "accountId"));
        r.accountLease = uint64(json.readUint(string.concat(at, "accountLease")));
        r.sequence = uint64(json.readUint(string.concat(at, "sequence")));
        r.last = json.readBool(string.concat(at, "last"));
        r.grantId = json.readString(string.concat(at, "grantId"));
        r.assetId = json.readBytes32(string.concat(at, "assetId"));
        r.versionDigest = json.readBytes32(string.concat(at, "versionDigest"));
        r.planId = json.readUint(string.concat(at, "planId"));
        r.meteringRule = json.readString(string.concat(at, "meteringRule"));
        r.units = uint64(json.readUint(string.concat(at, "units")));
        r.priceBookVersion = json.readString(string.concat(at, "priceBookVersion"));
        r.outcome = uint8(json.readUint(string.concat(at, "outcome")));
        r.startedAtMs = uint64(json.readUint(string.concat(at, "startedAtMs")));
        r.endedAtMs = uint64(json.readUint(string.concat(at, "endedAtMs")));
        r.requestCommitment = json.readBytes32(string.concat(at, "requestCommitment"));
        r.responseCommitment = json.readBytes32(string.concat(at, "responseCommitment"));
    }

    function test_certificates() external view {
        string memory json = _load("receipts");
        address escrow = json.readAddress(".domain.verifyingContract");
        assertEq(_count(json, ".certificates"), 2);
        for (uint256 i = 0; i < 2; ++i) {
            string memory at = _at(".certificates", i);
            string memory message = string.concat(at, ".replicaCertificate.");
            Receipts.ReplicaCertificate memory c = Receipts.ReplicaCertificate({
                operator: json.readAddress(string.concat(message, "operator")),
                replica: json.readAddress(string.concat(message, "replica")),
                validFrom: uint64(json.readUint(string.concat(message, "validFrom"))),
                validUntil: uint64(json.readUint(string.concat(message, "validUntil")))
            });
            _checkSigned(json, at, escrow, Receipts.hash(c));
        }
    }

    function test_segments() external view {
        string memory json = _load("receipts");
        address escrow = json.readAddress(".domain.verifyingContract");
        assertEq(_count(json, ".segments"), 2);
        for (uint256 i = 0; i < 2; ++i) {
            string memory at = _at(".segments", i);
            Receipts.Segment memory s = Receipts.Segment({
                root: json.readBytes32(string.concat(at, ".segment.root")),
                receipts: uint32(json.readUint(string.concat(at, ".segment.receipts")))
            });
            _checkSigned(json, at, escrow, Receipts.hash(s));
        }
    }

    function test_merkle() external view {
        string memory json = _load("merkle");
        assertEq(_count(json, ".trees"), 10);
        for (uint256 t = 0; t < 10; ++t) {
            string memory at = _at(".trees", t);
            bytes32 root = json.readBytes32(string.concat(at, ".root"));
            bytes32[] memory payloads = json.readBytes32Array(string.concat(at, ".payloads"));
            bytes32[] memory leaves = json.readBytes32Array(string.concat(at, ".leaves"));
            for (uint256 i = 0; i < payloads.length; ++i) {
                assertEq(keccak256(bytes.concat(keccak256(abi.encode(payloads[i])))), leaves[i]);
                string memory proofAt = _at(string.concat(at, ".proofs"), i);
                // The tree of one leaf has an empty proof, which the JSON reader gives no type.
                bytes32[] memory proof = payloads.length == 1 ? new bytes32[](0) : json.readBytes32Array(proofAt);
                assertTrue(MerkleProof.verify(proof, root, leaves[i]));
            }
            assertEq(_arrayRoot(leaves), root);
        }
    }

    /// @dev The layout that the README states, in the words of the README.
    function _arrayRoot(bytes32[] memory leaves) private pure returns (bytes32) {
        uint256 n = leaves.length;
        bytes32[] memory nodes = new bytes32[](2 * n - 1);
        for (uint256 i = 0; i < n; ++i) {
            nodes[2 * n - 2 - i] = leaves[i];
        }
        for (uint256 i = n - 1; i > 0; --i) {
            nodes[i - 1] = Hashes.commutativeKeccak256(nodes[2 * (i - 1) + 1], nodes[2 * (i - 1) + 2]);
        }
        return nodes[0];
    }

    function test_sumTrees() external view {
        string memory json = _load("sumtree");
        assertEq(_count(json, ".trees"), 11);
        for (uint256 t = 0; t < 11; ++t) {
            string memory at = _at(".trees", t);
            _checkSumTree(json, at, json.readBytes32(string.concat(at, ".root")));
        }
    }

    function _checkSumTree(string memory json, string memory at, bytes32 root) private view {
        uint128 sum = uint128(json.readUint(string.concat(at, ".sum")));
        bytes32[] memory leaves = json.readBytes32Array(string.concat(at, ".leaves"));
        for (uint256 i = 0; i < leaves.length; ++i) {
            SumTree.Charge memory charge = _charge(json, _at(string.concat(at, ".charges"), i));
            assertEq(SumTree.leafHash(charge), leaves[i]);
            SumTree.Step[] memory steps = _steps(json, _at(string.concat(at, ".proofs"), i));
            assertTrue(SumTree.verify(charge, steps, root, sum), at);
            charge.amount ^= 1;
            assertFalse(_verifies(charge, steps, root, sum), at);
        }
    }

    /// @dev A proof whose sum exceeds 128 bits reverts, and so does not hold.
    function _verifies(SumTree.Charge memory charge, SumTree.Step[] memory steps, bytes32 root, uint128 sum)
        private
        view
        returns (bool)
    {
        try this.verify(charge, steps, root, sum) returns (bool holds) {
            return holds;
        } catch {
            return false;
        }
    }

    function verify(SumTree.Charge memory charge, SumTree.Step[] memory steps, bytes32 root, uint128 sum)
        external
        pure
        returns (bool)
    {
        return SumTree.verify(charge, steps, root, sum);
    }

    function _charge(string memory json, string memory at) private pure returns (SumTree.Charge memory) {
        return SumTree.Charge({
            receiptHash: json.readBytes32(string.concat(at, ".receiptHash")),
            amount: uint128(json.readUint(string.concat(at, ".amount"))),
            currency: json.readAddress(string.concat(at, ".currency")),
            payer: json.readAddress(string.concat(at, ".payer")),
            salt: json.readBytes32(string.concat(at, ".salt"))
        });
    }

    function _steps(string memory json, string memory at) private view returns (SumTree.Step[] memory steps) {
        steps = new SumTree.Step[](_count(json, at));
        for (uint256 i = 0; i < steps.length; ++i) {
            string memory step = _at(at, i);
            steps[i] = SumTree.Step({
                hash: json.readBytes32(string.concat(step, ".hash")),
                sum: uint128(json.readUint(string.concat(step, ".sum"))),
                left: json.readBool(string.concat(step, ".left"))
            });
        }
    }

    function test_batches() external view {
        string memory json = _load("settlement");
        assertEq(_count(json, ".batches"), 4);
        for (uint256 b = 0; b < 4; ++b) {
            string memory at = _at(".batches", b);
            bytes32[] memory leaves = json.readBytes32Array(string.concat(at, ".leaves"));
            IUsageEscrow.Group[] memory groups = new IUsageEscrow.Group[](_count(json, string.concat(at, ".groups")));
            uint32 index = 0;
            for (uint256 g = 0; g < groups.length; ++g) {
                groups[g] = _group(json, _at(string.concat(at, ".groups"), g));
                for (uint256 i = 0; i < groups[g].items.length; ++i) {
                    IUsageEscrow.Line memory line = batchRoots.lineOf(groups[g], i, index);
                    assertEq(batchRoots.leafOf(line), leaves[index]);
                    _checkSumTree(json, _at(string.concat(at, ".trees"), index), line.payerRoot);
                    ++index;
                }
            }
            assertEq(index, leaves.length);
            assertEq(batchRoots.rootOf(groups), json.readBytes32(string.concat(at, ".root")));
        }
    }

    function _group(string memory json, string memory at) private view returns (IUsageEscrow.Group memory group) {
        group.assetId = json.readBytes32(string.concat(at, ".assetId"));
        group.token = json.readAddress(string.concat(at, ".token"));
        group.items = new IUsageEscrow.Item[](_count(json, string.concat(at, ".items")));
        for (uint256 i = 0; i < group.items.length; ++i) {
            group.items[i] = _item(json, _at(string.concat(at, ".items"), i));
        }
    }

    function _item(string memory json, string memory at) private pure returns (IUsageEscrow.Item memory) {
        return IUsageEscrow.Item({
            payer: json.readAddress(string.concat(at, ".payer")),
            authority: json.readBytes32(string.concat(at, ".authority")),
            window: uint32(json.readUint(string.concat(at, ".window"))),
            amount: uint128(json.readUint(string.concat(at, ".amount"))),
            payerRoot: json.readBytes32(string.concat(at, ".payerRoot")),
            records: uint32(json.readUint(string.concat(at, ".records")))
        });
    }

    function testFuzz_sumTree_RefusesASumAbove128Bits(uint128 amount, uint128 more) external {
        amount = uint128(bound(amount, 1, type(uint128).max));
        more = uint128(bound(more, type(uint128).max - amount + 1, type(uint128).max));
        SumTree.Charge memory charge = SumTree.Charge(0, amount, address(1), address(2), 0);
        SumTree.Step[] memory steps = new SumTree.Step[](1);
        steps[0] = SumTree.Step(0, more, true);
        vm.expectRevert(stdError.arithmeticError);
        this.verify(charge, steps, 0, 0);
    }
}
