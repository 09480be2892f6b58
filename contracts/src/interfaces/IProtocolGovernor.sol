// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

/// @title Votes of the holders of the network token
/// @notice A decision does what the AccessManager lets this contract do, after the delay under which it has its role: the
/// protocol's fee, a pause of entries, the parameters of gates. How it votes never changes.
interface IProtocolGovernor {
    /// @notice A decision waits at least `least` seconds.
    error ProtocolGovernor_DelayTooShort(uint32 delay, uint32 least);
}
