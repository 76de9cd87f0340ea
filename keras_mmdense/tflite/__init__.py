"""Export to TFLite: conversion, calibration, parity with the Keras model."""
