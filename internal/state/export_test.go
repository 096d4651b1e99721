package state

// Seal is for files that tests make by hand.
var Seal = seal
