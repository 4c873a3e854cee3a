package main

import (
	"encoding/json"
	"fmt"
)

// line is one history with the verdict of flin-check, as the example `histories` prints it.
type line struct {
	ID         int64       `json:"id"`
	Operations []operation `json:"operations"`
	Verdict    string      `json:"verdict"`
}

type operation struct {
	Client uint32  `json:"client"`
	Object uint32  `json:"object"`
	FromUs int64   `json:"from_us"`
	ToUs   *int64  `json:"to_us"`
	Action action  `json:"action"`
	Answer *answer `json:"answer"`
}

// action has exactly one field that is set: enums of Rust arrive with their name as the only key. Keys are
// int, for a slice of bytes would be taken for base64.
type action struct {
	Get *[]int `json:"get"`
	Put *struct {
		Pairs [][2]int64 `json:"pairs"`
	} `json:"put"`
	Add *struct {
		Key int   `json:"key"`
		By  int64 `json:"by"`
	} `json:"add"`
	CompareAndSet *struct {
		Key      int    `json:"key"`
		Expected *int64 `json:"expected"`
		Value    *int64 `json:"value"`
	} `json:"compare_and_set"`
	Delete *struct {
		Keys []int `json:"keys"`
	} `json:"delete"`
	Swap *struct {
		Key   int    `json:"key"`
		Value *int64 `json:"value"`
	} `json:"swap"`
}

// answer is the word "done" or an object with one key.
type answer struct {
	Kind   string
	Number int64
	Values []*int64
}

func (a *answer) UnmarshalJSON(text []byte) error {
	if err := json.Unmarshal(text, &a.Kind); err == nil {
		return nil
	}
	var parts map[string]json.RawMessage
	if err := json.Unmarshal(text, &parts); err != nil {
		return err
	}
	for kind, content := range parts {
		a.Kind = kind
		switch kind {
		case "sum", "count":
			return json.Unmarshal(content, &a.Number)
		case "values":
			return json.Unmarshal(content, &a.Values)
		case "found":
			a.Values = make([]*int64, 1)
			return json.Unmarshal(content, &a.Values[0])
		}
	}
	return fmt.Errorf("no answer of ours: %s", text)
}
