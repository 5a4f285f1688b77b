package reading

// Answer is three-valued: what can't be told is not "no".
type Answer string

// Answers.
const (
	Yes     Answer = "yes"
	No      Answer = "no"
	Unknown Answer = "unknown"
)

// Told is Yes or No.
func Told(yes bool) Answer {
	if yes {
		return Yes
	}
	return No
}

// All is No if any answer is No, else Unknown if any is not Yes; of none it is Yes.
func All(answers ...Answer) Answer {
	out := Yes
	for _, a := range answers {
		switch a {
		case No:
			return No
		case Yes:
		default:
			out = Unknown
		}
	}
	return out
}

// Any is Yes if any answer is Yes, else Unknown if any is not No; of none it is No.
func Any(answers ...Answer) Answer {
	out := No
	for _, a := range answers {
		switch a {
		case Yes:
			return Yes
		case No:
		default:
			out = Unknown
		}
	}
	return out
}

// Not turns Yes and No round.
func (a Answer) Not() Answer {
	switch a {
	case Yes:
		return No
	case No:
		return Yes
	}
	return Unknown
}
