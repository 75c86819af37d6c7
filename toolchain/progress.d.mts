/** Takes one line about a long step; `done` ends it. */
export type Progress = (text: string, done: boolean) => void;

/** Reports to stderr: one line that is rewritten on a terminal, else a line now and then. */
export function consoleProgress(): Progress;

/** Runs `work`; once it has taken 3 s, says what it is and the seconds elapsed, and at the end how long it took. */
export function step<T>(label: string, report: Progress, work: () => Promise<T>): Promise<T>;
