/** First byte of a connection to the worker of these tests: what it does with the connection, or with itself. */
export const ECHO = 0, CLOSE_WORKER = 1;
