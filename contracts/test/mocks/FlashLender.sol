// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

/// @notice Lends tokens for one transaction.
contract FlashLender {
    address private immutable _token;

    constructor(address token) {
        _token = token;
    }

    function lend(uint256 amount, address to) external {
        (bool sent,) = _token.call(abi.encodeWithSignature("transfer(address,uint256)", to, amount));
        require(sent, "not lent");
        IBorrower(to).onLoan(amount);
        (bool back,) =
            _token.call(abi.encodeWithSignature("transferFrom(address,address,uint256)", to, address(this), amount));
        require(back, "not paid back");
    }
}

interface IBorrower {
    function onLoan(uint256 amount) external;
}
