// A second opinion on the verdicts of flin-check: reads the lines that its example `histories` prints and has
// porcupine judge each history. It ends with 1 if the two disagree about any.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/anishathalye/porcupine"
)

// How many disagreements are printed, and how long porcupine may think about one history.
const (
	shownMax  = 5
	patience  = time.Minute
	lineBytes = 1 << 20
)

func main() {
	if err := judge(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func judge(in io.Reader, out io.Writer) error {
	var total, linearizable, not, disagreements int
	lines := bufio.NewReaderSize(in, lineBytes)
	for {
		text, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) && len(text) == 0 {
			break
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("read history %d: %w", total+1, err)
		}
		var line line
		if err := json.Unmarshal(text, &line); err != nil {
			return fmt.Errorf("parse history %d: %w", total+1, err)
		}
		total++
		verdict := "undecided"
		switch porcupine.CheckOperationsTimeout(model, history(line.Operations), patience) {
		case porcupine.Ok:
			verdict = "linearizable"
			linearizable++
		case porcupine.Illegal:
			verdict = "not"
			not++
		}
		// Whoever has not decided has not agreed.
		if verdict != line.Verdict || verdict == "undecided" {
			disagreements++
			if disagreements <= shownMax {
				fmt.Fprintf(out, "history %d: porcupine says %q, flin-check %q\n%s", line.ID, verdict, line.Verdict, text)
			}
		}
	}
	fmt.Fprintf(out, "%d histories, %d linearizable, %d not, %d disagreements\n", total, linearizable, not, disagreements)
	if disagreements > 0 {
		return errors.New("the judges disagree")
	}
	if total == 0 {
		return errors.New("no history was read")
	}
	return nil
}
