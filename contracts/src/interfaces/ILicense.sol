// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IERC5192} from "./IERC5192.sol";
import {IERC7432} from "./IERC7432.sol";
import {IERC7858} from "./IERC7858.sol";

/// @title Licences (ERC-721 with an expiry, ERC-7858)
/// @notice A token is one licence of one plan. An expired licence still moves, as ERC-7858 demands, and is not usable.
/// Token ids of the first generation count from 1, of the next one from 2^64 + 1, and so on, so that a licence keeps its
/// id when its holder takes it into the next generation. Movements are ERC-721's `Transfer`. Its holder may let another account use it for a while
/// (ERC-7432 with the one role `USER_ROLE`, and ERC-4907's view of it), bind it (ERC-5192) and burn it.
/// contracts/README.md has the table of states and actions.
interface ILicense is IERC7858, IERC5192, IERC7432 {
    /// @notice One licence.
    /// @param planId Plan it is bound to; plans count from 1, so 64 bits hold them and the licence is one slot.
    /// @param startTime Unix seconds from which it is valid.
    /// @param endTime Unix seconds from which it is not; never 0.
    /// @param ordinal How often it was renewed.
    /// @param transferable As the plan says.
    /// @param trial Whether its first term was the plan's trial.
    struct Terms {
        uint64 planId;
        uint64 startTime;
        uint64 endTime;
        uint32 ordinal;
        bool transferable;
        bool trial;
    }

    /// @notice `user` may use the licence until `expires`, Unix seconds; 0, 0: nobody but its holder (ERC-4907).
    event UpdateUser(uint256 indexed tokenId, address indexed user, uint64 expires);

    /// @notice The licence ended for a breach: it is not usable, renewable or movable any more.
    event LicenseRevoked(uint256 indexed tokenId, uint256 indexed planId, uint64 endTime);

    /// @notice A licence came here from a contract of an earlier generation, where its id ends. Units and terms go on.
    event LicenseMigrated(
        uint256 indexed tokenId,
        uint256 indexed planId,
        address indexed from,
        address holder,
        uint64 startTime,
        uint64 endTime,
        uint32 ordinal,
        bool trial
    );

    /// @notice The contract is not active in the Directory: it issues and renews nothing.
    error License_NotActive();
    /// @notice Only a retiring contract of an earlier generation hands licences over.
    error License_NotFormerGeneration(address caller);
    /// @notice The contract is not retiring, or no next generation is active.
    error License_NoNextGeneration();
    /// @notice A breach is announced; the licence stays here until then.
    error License_Held(uint256 tokenId, uint64 until);
    /// @notice Only an active or retiring BreachBook revokes.
    error License_NotBreachBook(address caller);
    /// @notice The licence was revoked.
    error License_Breached(uint256 tokenId);
    /// @notice Only an active LicenseSale mints and renews.
    error License_NotSale(address caller);
    /// @notice An end is never 0 (ERC-7858 reads that as "never expires") and lies after the start.
    error License_InvalidTerm(uint64 startTime, uint64 endTime);
    /// @notice The plan forbids the movement.
    error License_NotTransferable(uint256 tokenId, uint256 planId);
    /// @notice No licence has this id, or it was burned.
    error License_Unknown(uint256 tokenId);
    /// @notice The caller is not the holder, nor an account that may act for the holder here.
    error License_NotHolder(uint256 tokenId, address caller);
    /// @notice The licence is bound: it does not move, and is neither listed nor burned.
    error License_Locked(uint256 tokenId);
    /// @notice The licence is not bound.
    error License_NotLocked(uint256 tokenId);
    /// @notice An irrevocable delegation runs until then.
    error License_Delegated(uint256 tokenId, uint64 expires);
    /// @notice No delegation runs.
    error License_NotDelegated(uint256 tokenId);
    /// @notice A delegation is to somebody, ends later than now and at the latest with the term, and carries no data.
    error License_InvalidDelegation(uint256 tokenId, address recipient, uint64 expires);
    /// @notice Only `USER_ROLE` of this contract's tokens can be granted.
    error License_UnknownRole(address tokenAddress, bytes32 roleId);

    /// @notice Mints a licence. LicenseSale only. Calls no hook of the recipient.
    function mint(address recipient, uint256 planId, uint64 startTime, uint64 endTime, bool transferable, bool trial)
        external
        returns (uint256 tokenId);

    /// @notice Moves the end of a licence to a later time and counts the renewal. LicenseSale only.
    function renew(uint256 tokenId, uint64 endTime) external returns (uint32 ordinal);

    /// @notice Ends a licence for a breach, now, with its delegation. BreachBook only, which pays the holder.
    function revoke(uint256 tokenId) external;

    /// @notice Takes a licence into the next generation, by its holder alone: it is burned here and issued there, to the
    /// same holder, with the same id, plan and term. It is not locked then, nor breached, nor under a notice; a
    /// delegation that can be ended ends.
    function migrate(uint256 tokenId) external;

    /// @notice Issues a licence that its holder takes over from an earlier generation. Called by that contract alone.
    function accept(address holder, uint256 tokenId, Terms calldata terms) external;

    /// @notice Keeps a licence from the next generation until then, while a breach is announced. BreachBook only.
    function hold(uint256 tokenId, uint64 until) external;

    /// @notice Binds a licence to its holder, by the holder alone, until `unlockToken`.
    function lock(uint256 tokenId) external;

    /// @notice Ends a licence for good, by its holder alone. Needs no role and asks no other contract.
    function burn(uint256 tokenId) external;

    /// @notice State of a licence. Reverts when it is unknown.
    function licenseOf(uint256 tokenId) external view returns (Terms memory);

    /// @notice Whether the licence was revoked. Reverts when it is unknown.
    function isRevoked(uint256 tokenId) external view returns (bool);

    /// @notice Whether the licence exists and its term runs now.
    function isUsable(uint256 tokenId) external view returns (bool);

    /// @notice Account that the holder lets use the licence now; 0: nobody (ERC-4907).
    function userOf(uint256 tokenId) external view returns (address);

    /// @notice Until when, Unix seconds; 0: nobody (ERC-4907).
    function userExpires(uint256 tokenId) external view returns (uint256);
}
